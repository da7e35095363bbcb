#: expect rego_recursion 6:1 function `lictor.u._f` calls itself
#: expect rego_recursion 8:1 function `lictor.u._g` calls itself
package lictor.u

allow if _f(input.context.args.n) == 1
_f(x) := _g(x - 1)

_g(x) := y if {
	y := [z | z := _f(x)]
}

_h(x) := x
