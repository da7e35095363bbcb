#: expect rego_constant 4:12 `lictor.u._rate` fails for every call: divide by zero
package lictor.u

_rate := 1 / 0

allow if input.context.args.n / input.context.args.m > 1
