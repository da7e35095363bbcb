#: expect rego_reference 4:1 `data` is used for a variable
#: expect rego_reference 6:1 `input` is used for a variable
package lictor.u
deny contains "x" if { some data in input.context.args.list; data == 1 }

_f(input) := input
