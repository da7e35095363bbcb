#: expect rego_constant 8:1 `lictor.u._a` fails for every call: the rule depends on itself
#: expect rego_constant 8:1 `lictor.u.allow` fails
#: expect rego_constant 10:1 `lictor.u._b` fails
package lictor.u

allow if _a

_a if _b

_b if _a
