#: expect rego_dialect 5:1 `allow { ... }` is Rego v0: a body is written behind `if`
#: expect rego_dialect 7:1 `deny { ... }` is Rego v0: a body is written behind `if`
package lictor.u

allow { true }

deny[message] {
	message := "no"
}
