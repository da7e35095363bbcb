# Agents that spin, stall or rush. The signals are facts, what follows from them is decided here
# and in cedar/baseline.cedar.
package lictor.baseline

# === what is asked ===

_person if {
	input.subject.type == "user"
	data.registry.users[input.subject.id]
}

_tool if input.action.name == "tools/call"

# An answer or a list is no further round.
_asked if {
	input.phase == "request"
	_tool
}

_signals := input.facts.signals

_polled if data.baseline.polls[input.resource.id]

_identical_calls := object.get(data.baseline.polls, [input.resource.id], data.baseline.identical_calls)

# === what is permitted ===

allow contains "baseline.tool" if {
	_tool
	_person
}

allow contains "baseline.connect" if {
	input.action.name in {"mcp/connect", "server/discover", "tools/list"}
	_person
}

allow contains "baseline.session" if {
	input.action.name == "session/open"
	_person
}

list if _tool

# === the breaker ===

# `loop` counts the rounds within a minute that this call would continue, also of A-B-A-B. It
# falls again as they grow older: the breaker closes by itself.
deny contains {
	"id": "baseline.breaker",
	"message": "the same call came too often within a minute: wait, or do something else",
	"detail": sprintf("%v rounds before this one, %v are allowed", [_signals.loop, _identical_calls]),
} if {
	_asked
	_signals.loop >= _identical_calls
}

# Rounds that brought the same results again lead nowhere sooner.
deny contains {
	"id": "baseline.no_progress",
	"message": "the same call brought the same result again: do something else",
	"detail": sprintf("%v rounds with the same results", [_signals.no_progress]),
} if {
	_asked
	not _polled
	_signals.no_progress >= data.baseline.rounds_without_progress
}

# === the rate ===

deny contains {
	"id": "baseline.rush",
	"message": "this agent calls the tool far more often than it usually does",
	"detail": sprintf("%v times its usual rate", [_signals.rate]),
} if {
	_asked
	_signals.rate >= data.baseline.rate.deny
}

# Whoever has the registry's role `approver` may agree.
ask contains {
	"id": "baseline.haste",
	"message": "this agent calls the tool more often than it usually does: a person must agree",
	"count": 1,
	"expires": "15m",
} if {
	_asked
	_signals.rate >= data.baseline.rate.ask
	_signals.rate < data.baseline.rate.deny
}
