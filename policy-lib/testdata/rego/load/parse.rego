#: expect rego_parse 4:15 expecting expression
package lictor.u

allow if 1 == }
