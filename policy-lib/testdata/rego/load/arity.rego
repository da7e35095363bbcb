#: expect rego_arity 5:22 `count` takes 1 arguments, not 3
#: expect rego_arity 6:22 `_f` takes 2 arguments, not 1
package lictor.u

deny contains "a" if count([], 1, 2)
deny contains "b" if _f(1)

_f(x, y) := x + y
