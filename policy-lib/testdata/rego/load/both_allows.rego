#: expect rego_form 6:1 both forms of `allow`
package lictor.u

allow if input.context.args.x

allow contains "u.x" if input.context.args.x
