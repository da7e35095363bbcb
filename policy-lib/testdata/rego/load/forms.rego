#: expect rego_form 9:1 `allow` has a default
#: expect rego_form 11:1 `allow` is given a value
#: expect rego_form 13:1 `deny` is a condition, not a set
#: expect rego_form 15:1 `ask` has a dotted or indexed head
#: expect rego_form 17:1 `labels` is a function
#: expect rego_form 19:1 `list` is a set, not a condition
#: expect rego_form 21:1 `allow` has an `else`
package lictor.u
default allow := false

allow := true if input.context.args.x

deny if input.context.args.x

ask.manager contains "x" if input.context.args.x

labels(x) := x

list contains "x" if input.context.args.x

allow if input.context.args.y else := true
