#: expect rego_recursion 9:1 rule `lictor.u._a` depends on itself
#: expect rego_recursion 11:1 rule `lictor.u._b` depends on itself
#: expect rego_recursion 15:1 rule `lictor.u._c` depends on itself
#: expect rego_recursion 17:1 rule `lictor.u.deny` depends on itself
package lictor.u

allow if _a

_a if _b

_b if _a

list if input.context.args.x

_c if { input.context.args.x; count(deny) > 1 }

deny contains "x" if _c
