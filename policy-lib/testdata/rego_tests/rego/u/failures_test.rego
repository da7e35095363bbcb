package lictor.u_test

import data.lictor.u

test_a_comparison if {
	call := {"context": {"args": {"n": 3}}}
	got := object.get(call, ["context", "args", "n"], 0)
	u.allow with input as call
	got + 1 == 5
	got == 3
}

test_a_rule if {
	n := 11
	u.allow with input.context.args.n as n
}

test_a_denial_that_is_there if {
	not u.deny["x"]
	count(u.deny) > 0 with input.context.args.text as "a!"
	not u.allow with input.context.args.n as 2
}

test_no_element if {
	some n in [1, 2, 3]
	print("looking at", n)
	n > 5
	u.allow with input.context.args.n as n
}

test_an_undefined_part if {
	data.teams.b[0] == "x"
}

test_one_line if u.allow with input.context.args.n as 12

test_false := false

test_errs if {
	to_number("x") == 1
}

todo_test_later if false
