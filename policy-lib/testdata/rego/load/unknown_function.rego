#: expect rego_function 6:15 there is no function `crypto.sha3`
#: expect rego_function 10:2 there is no function `_helpr`
package lictor.u

_never_called(x) if {
	x == 1; y := crypto.sha3("x"); y == x
}

_never_asked if {
	_helpr(1)
}

_helper(x) := x
