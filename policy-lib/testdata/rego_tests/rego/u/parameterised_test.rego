package lictor.u_test

import data.lictor.u

test_cases[name] if {
	some name, case in {
		"large": {"n": 50, "want": true},
		"small": {"n": 1, "want": true},
	}
	got := u.allow with input.context.args.n as case.n
	got == case.want
}

test_nested[kind][name] if {
	some kind, cases in {
		"even": {"four": 4, "two": 2},
		"odd": {"one": 1, "six": 6},
	}
	some name, n in cases
	_parity(n) == kind
}

_parity(n) := "even" if n % 2 == 0

_parity(n) := "odd" if n % 2 == 1

test_by_index[i] if {
	numbers := [1, 2, 30]
	some i
	u.allow with input.context.args.n as numbers[i]
}

test_none[name] if {
	some name, _ in {}
}
