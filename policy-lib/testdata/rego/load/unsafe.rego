#: expect rego_unsafe 6:22 `nothing` is unsafe
#: expect rego_unsafe 8:15 variable `y` is unsafe
#: expect rego_head 10:62 the head picks any element
package lictor.u

deny contains "x" if nothing == 1

deny contains y if input.context.args.x

deny contains {"id": "a", "message": input.context.args.list[_]} if true
