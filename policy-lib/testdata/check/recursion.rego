package lictor.u

allow if _a

_a if _b

_b if _a

deny contains "r" if _f(3) == 1

_f(x) := _f(x - 1)

# What is wrong elsewhere is said all the same.
deny contains "u" if nobody == 1
