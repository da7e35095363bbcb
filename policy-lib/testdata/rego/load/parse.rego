#: expect rego_parse 4:7 `if` keyword is required
package lictor.u

allow { true }
