#: expect rego_parse 4:20 out of range
package lictor.u

allow if input.x < 1e999999999
