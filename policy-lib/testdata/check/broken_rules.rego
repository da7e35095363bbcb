package lictor.u

import data.numbers

allow if {
	_first
	input.phase =
}

_first if input.context.args.lines < numbers.most

_second(x) := [x,

_third if _second(1)

deny contains "a" if {
	input.context.args.lines > 3

deny contains "b" if _third

deny contains "c" if nonsense(3)
