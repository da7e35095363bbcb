#: expect rego_dialect 6:13 `import rego.v2` is not evaluated: the language is Rego v1
#: expect rego_dialect 10:16 the keyword `or` is not evaluated
#: expect rego_dialect 13:66 template strings are not evaluated
package lictor.u

import rego.v2

allow if {
	input.action.name == "tools/call"
	_first(input) or _first(1)
}

deny contains {"id": "u.hello", "message": concat(" ", ["hello", $"{input.subject.id}"])} if not _first(1)

_first(x) if x
