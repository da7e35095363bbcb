package lictor.delegation_test

import data.lictor.delegation

_agent(clearance, party) := {"attrs": {"party": party, "attrs": {"clearance": clearance}}}

_call(effect, reads, agent, actors) := {
	"phase": "request",
	"subject": {"type": "user", "id": "dana@example.com"},
	"agent": {"type": "agent", "id": "first"},
	"delegation": [{"type": "agent", "id": sprintf("behind-%d", [i])} | some i, _ in actors],
	"action": {"name": "tools/call"},
	"resource": {"type": "tool", "id": "s/t"},
	"facts": {
		"subject": {"attrs": {"manager": "erin@example.com"}},
		"agent": agent,
		"delegation": actors,
		"resource": {"attrs": {"annotations": {"effect": effect, "reads": reads}}},
	},
}

_ids(elements) := {element.id | some element in elements}

test_a_chain_is_cleared_for_what_all_are_cleared_for if {
	ours := _agent("secret", "first")
	delegation.allow == {"delegation.tool"} with input as _call("none", "secret", ours, [ours, ours])
	call := _call("none", "internal", ours, [ours, _agent("public", "first")])
	_ids(delegation.deny) == {"delegation.clearance"} with input as call
	count(delegation.allow) == 0 with input as call
}

test_an_agent_without_a_level_is_cleared_for_nothing if {
	call := _call("none", "public", {"attrs": {"party": "first"}}, [])
	_ids(delegation.deny) == {"delegation.clearance"} with input as call
}

test_an_agent_of_another_company_anywhere_stops_what_leaves if {
	ours := _agent("secret", "first")
	theirs := _agent("secret", "third")
	stopped := {"delegation.third_party_egress"}
	_ids(delegation.deny) == stopped with input as _call("egress", "public", theirs, [])
	_ids(delegation.deny) == stopped with input as _call("mutate", "public", ours, [ours, theirs])
	_ids(delegation.deny) == set() with input as _call("none", "public", ours, [theirs])
}

test_a_mail_over_two_hops_is_asked_about if {
	ours := _agent("secret", "first")
	_ids(delegation.ask) == set() with input as _call("egress", "public", ours, [ours])
	_ids(delegation.ask) == {"delegation.mail_over_hops"} with input as _call("egress", "public", ours, [ours, ours])
}

test_only_a_person_has_authority_to_hand_on if {
	call := object.union(_call("none", "public", _agent("secret", "first"), []), {"subject": {"type": "service", "id": "dana@example.com"}})
	count(delegation.allow) == 0 with input as call
}
