#: expect rego_builtin 8:2 `http.send` is not available: policies do no I/O
#: expect rego_builtin 9:2 `io.jwt.verify_rs256` is not available: tokens are verified before policy
#: expect rego_builtin 10:2 `any` is not available: it is gone from Rego v1; write `true in xs`
#: expect rego_builtin 11:2 `uri.is_valid` is not available: readers of URIs differ
package lictor.u

_never if {
	http.send({"method": "get", "url": "https://example.com"}).status_code == 200
	io.jwt.verify_rs256("a", "b")
	any([true])
	uri.is_valid("https://example.com")
	crypto.sha256("x") == "y"
}
