package lictor.u_test

import data.lictor.u

# Everything that `with` can replace.

test_input if u.allow with input as {"context": {"args": {"n": 1}}}

test_a_part_of_the_input if u.allow with input.context.args.n as 1

test_data if u.allow with input.context.args.n as 50 with data.most as 100

test_a_function_by_a_function if {
	u.allow with input.subject.id as "nobody" with u._teams_of as _boss
}

_boss(_) := ["boss"]

test_a_function_by_a_value if {
	u.allow with input.subject.id as "nobody" with u._teams_of as ["boss"]
}

test_a_builtin_by_a_function if {
	found := u.deny with input.context.args.text as "a!" with upper as _shout
	found == {{"id": "u.loud", "message": "SHOUTED a!"}}
}

_shout(text) := concat(" ", ["SHOUTED", text])

test_a_builtin_by_a_value if {
	found := u.deny with input.context.args.text as "a!" with upper as "fixed"
	found == {{"id": "u.loud", "message": "fixed"}}
}

test_a_mock_ends_with_its_statement if {
	u.allow with input.context.args.n as 50 with data.most as 100
	not u.allow with input.context.args.n as 50
}
