# Tests of single rules. Whole decisions, both engines together, are in cases/.
package lictor.tickets_test

import data.lictor.tickets

test_searching_is_allowed if {
	tickets.allow with input as _call("search", {"query": "printer"})
}

test_deleting_is_denied if {
	some denial in tickets.deny with input as _call("delete", {"ticket": 7})
	denial.id == "tickets.delete"
}

test_closing_a_low_priority_ticket_asks_nobody if {
	count(tickets.ask) == 0 with input as _call("close", {"ticket": 7, "priority": "low"})
}

_call(tool, args) := {
	"action": {"name": "tools/call"},
	"resource": {"type": "tool", "id": concat("/", ["tickets", tool])},
	"subject": {"type": "user", "id": "alice@example.com"},
	"context": {"args": args},
	"facts": {"subject": {"attrs": {"manager": "mara@example.com"}}},
}
