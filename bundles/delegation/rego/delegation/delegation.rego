# Authority over a whole chain: a person, then agents that act for each other. Who may do what at
# all stands in cedar/delegation.cedar, who may act for whom in the registry.
package lictor.delegation

# === the chain ===

# Attributes of every agent from the signed registry: who acts, for whom, and so on.
_chain := array.concat([input.facts.agent.attrs], [actor.attrs | some actor in input.facts.delegation])

_ids := array.concat([input.agent.id], [actor.id | some actor in input.delegation])

# A chain is cleared for what all its agents are cleared for. One without a level is for nothing.
_clearance := min([level |
	some attrs in _chain
	level := object.get(data.delegation.levels, object.get(attrs, ["attrs", "clearance"], ""), -1)
])

_third_party if {
	some attrs in _chain
	attrs.party == "third"
}

# === what is asked ===

_person if {
	input.subject.type == "user"
	data.registry.users[input.subject.id]
}

_asked if input.phase == "request"

_tool if input.action.name == "tools/call"

_effect := input.facts.resource.attrs.annotations.effect if _tool

_reads := object.get(input.facts.resource.attrs.annotations, "reads", "public") if _tool

_cleared if _clearance >= data.delegation.levels[_reads]

# === what is permitted ===

allow contains "delegation.tool" if {
	_person
	_tool
	_cleared
}

allow contains "delegation.connect" if {
	input.action.name in {"mcp/connect", "server/discover", "tools/list"}
	_person
}

allow contains "delegation.session" if {
	input.action.name == "session/open"
	_person
}

allow contains "delegation.message" if {
	input.action.name == "a2a/message"
	_person
	_takes_part
}

list if {
	_tool
	_cleared
}

# === what is refused, and why ===

deny contains {
	"id": "delegation.clearance",
	"message": "an agent of this delegation may not see what the tool reads",
	"detail": sprintf("the chain is cleared for level %v, the tool reads %v", [_clearance, _reads]),
} if {
	_asked
	_tool
	not _cleared
}

# What another company's agent read or wrote may steer every agent that acts for it.
deny contains {
	"id": "delegation.third_party_egress",
	"message": "nothing leaves and nothing changes while an agent of another company takes part",
	"detail": sprintf("agents %v", [_ids]),
} if {
	_third_party
	_effect in {"egress", "mutate", "exec"}
}

# === messages between agents ===

_message if input.action.name == "a2a/message"

# Whether the other agent would act for this one; the registry refuses its calls otherwise.
_takes_part if not input.facts.resource.attrs.parents

_takes_part if input.agent.id in input.facts.resource.attrs.parents

deny contains {
	"id": "delegation.not_its_parent",
	"message": "the other agent does not act for this one",
} if {
	_message
	not _takes_part
}

deny contains {
	"id": "delegation.comes_back",
	"message": "the other agent already takes part in this delegation",
} if {
	_message
	input.resource.id in _ids
}

# === what a person must agree to ===

ask contains {
	"id": "delegation.mail_over_hops",
	"message": "a mail that was handed on more than once needs a person",
	"approvers": [input.facts.subject.attrs.manager],
} if {
	_asked
	_tool
	_effect == "egress"
	count(input.delegation) > data.delegation.hops_without_a_person
}
