#: expect rego_input 7:26 the input has no `contxt`
#: expect rego_input 8:42 the input has no `finding`
#: expect rego_data_unknown 9:20 there is no `registri`
#: expect rego_data_unknown 10:20 package `lictor.u` has no rule `_missing`
package lictor.u

deny contains 1 if input.contxt.args.x
deny contains 2 if some f in input.facts.finding
deny contains 3 if data.registri.tools
deny contains 4 if data.lictor.u._missing
deny contains 5 if input.context.args.anything.goes
deny contains 6 if { some d in input.delegation; d.id == "x" }
