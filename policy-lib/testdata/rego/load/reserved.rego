#: expect rego_reserved 5:1 `_lictor_deny` is reserved
#: expect rego_reserved 7:10 `_lictor_deny` is reserved
package lictor.u

_lictor_deny contains "x" if true

allow if data.lictor.u["_lictor_deny"]
