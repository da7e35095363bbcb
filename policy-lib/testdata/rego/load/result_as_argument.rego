#: expect rego_arity 6:2 the result of `crypto.sha256` cannot be an argument
#: expect rego_unsafe 6:21 use of undefined variable `digest` is unsafe
package lictor.u

_never if {
	crypto.sha256("x", digest)
	digest == "y"
}

_fine if {
	split("a.b", ".", parts)
	count(parts) == 2
}

allow if {
	_never
	_fine
}
