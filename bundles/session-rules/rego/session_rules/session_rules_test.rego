package lictor.session_rules_test

import data.lictor.session_rules

_call(tool, session) := {
	"phase": "request",
	"subject": {"type": "user", "id": "dana@example.com"},
	"agent": {"type": "agent", "id": "clerk-v1"},
	"action": {"name": "tools/call"},
	"resource": {"type": "tool", "id": tool},
	"facts": {"session": object.union({"calls": {}, "pending": [], "spend_usd_micros": 0}, session)},
}

_ids(elements) := {element.id | some element in elements}

test_once if {
	count(session_rules.deny) == 0 with input as _call("payments/approve", {})
	again := _call("payments/approve", {"calls": {"payments/approve": 1}})
	_ids(session_rules.deny) == {"session_rules.only_once"} with input as again
}

test_after_and_settled if {
	_ids(session_rules.deny) == {"session_rules.only_after"} with input as _call("payments/pay", {})
	done := {"payments/check": 1, "payments/approve": 1}
	count(session_rules.deny) == 0 with input as _call("payments/pay", {"calls": done})
	waits := _call("payments/pay", {"calls": done, "pending": ["payments/check"]})
	_ids(session_rules.deny) == {"session_rules.only_after"} with input as waits
}

test_never_after if {
	count(session_rules.deny) == 0 with input as _call("mail/send", {})
	read := {"calls": {"vault/read": 1}}
	every tool in {"mail/send", "web/post"} {
		_ids(session_rules.deny) == {"session_rules.never_after_secrets"} with input as _call(tool, read)
	}
	count(session_rules.deny) == 0 with input as _call("payments/check", read)
}

test_the_message_says_what_is_missing if {
	some reason in session_rules.deny with input as _call("payments/pay", {"calls": {"payments/check": 1}})
	reason.message == "first do payments/approve in this session, and wait for its result"
}
