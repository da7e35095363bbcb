# What a session has done decides what it may still do: only once, only after, never after. The
# decision point evaluates these again whenever the session changed meanwhile, so that two calls at
# once cannot both pass a rule that either breaks for the other.
package lictor.session_rules

# === what is asked ===

_person if {
	input.subject.type == "user"
	data.registry.users[input.subject.id]
}

_tool if input.action.name == "tools/call"

_asked if {
	input.phase == "request"
	_tool
}

_session := input.facts.session

# How often it was permitted in this session, whatever became of it.
_times(tool) := object.get(_session.calls, [tool], 0)

# Permitted, and nothing of it under way any more: its result was there to be acted upon.
_settled(tool) if {
	_times(tool) > 0
	not tool in _session.pending
}

# === what is permitted ===

allow contains "session_rules.tool" if {
	_tool
	_person
}

allow contains "session_rules.connect" if {
	input.action.name in {"mcp/connect", "server/discover", "tools/list"}
	_person
}

allow contains "session_rules.open" if {
	input.action.name == "session/open"
	_person
}

allow contains "session_rules.model" if {
	input.action.name == "llm/chat"
	_person
}

list if _tool

list if input.action.name == "llm/chat"

# === only once ===

deny contains {
	"id": "session_rules.only_once",
	"message": "this is done once in a session, and it was done",
} if {
	_asked
	input.resource.id in data.session_rules.only_once
	_times(input.resource.id) > 0
}

# === only after ===

deny contains {
	"id": "session_rules.only_after",
	"message": sprintf("first do %v in this session, and wait for its result", [first]),
} if {
	_asked
	some first in object.get(data.session_rules.only_after, [input.resource.id], [])
	not _settled(first)
}

# === never after ===

# Counted when it is permitted, not when it ends: what is under way may be read before this is sent.
deny contains {
	"id": "session_rules.never_after_secrets",
	"message": "this session read a secret, so nothing leaves it any more",
} if {
	_asked
	input.resource.id in data.session_rules.external
	_times("vault/read") > 0
}

# === how much ===

deny contains {
	"id": "session_rules.spent",
	"message": "this session has spent what one may spend: open another",
	"detail": sprintf("%v millionths of a dollar", [_session.spend_usd_micros]),
} if {
	input.phase == "request"
	input.action.name == "llm/chat"
	_session.spend_usd_micros >= data.session_rules.spend_usd_micros_max
}
