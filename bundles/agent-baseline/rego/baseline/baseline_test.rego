package lictor.baseline_test

import data.lictor.baseline

_call(tool, signals) := {
	"phase": "request",
	"subject": {"type": "user", "id": "dana@example.com"},
	"agent": {"type": "agent", "id": "helper-v1"},
	"action": {"name": "tools/call"},
	"resource": {"type": "tool", "id": tool},
	"facts": {"signals": object.union({"loop": 0, "no_progress": 0, "first_use": false, "rate": 1}, signals)},
}

_ids(elements) := {element.id | some element in elements}

test_the_fifth_identical_call_trips_the_breaker if {
	count(baseline.deny) == 0 with input as _call("kb/search", {"loop": 3})
	_ids(baseline.deny) == {"baseline.breaker"} with input as _call("kb/search", {"loop": 4})
}

test_what_is_polled_may_be_asked_more_often if {
	count(baseline.deny) == 0 with input as _call("builds/status", {"loop": 11, "no_progress": 11})
	_ids(baseline.deny) == {"baseline.breaker"} with input as _call("builds/status", {"loop": 12, "no_progress": 12})
}

test_the_same_results_trip_it_sooner if {
	count(baseline.deny) == 0 with input as _call("kb/search", {"loop": 2, "no_progress": 1})
	_ids(baseline.deny) == {"baseline.no_progress"} with input as _call("kb/search", {"loop": 2, "no_progress": 2})
}

test_a_rate_asks_before_it_denies if {
	count(baseline.ask) == 0 with input as _call("kb/search", {"rate": 4.9})
	_ids(baseline.ask) == {"baseline.haste"} with input as _call("kb/search", {"rate": 5})
	count(baseline.deny) == 0 with input as _call("kb/search", {"rate": 19.9})
	_ids(baseline.deny) == {"baseline.rush"} with input as _call("kb/search", {"rate": 20})
	count(baseline.ask) == 0 with input as _call("kb/search", {"rate": 20})
}

test_an_answer_is_no_further_round if {
	answered := object.union(_call("kb/search", {"loop": 9, "no_progress": 9, "rate": 99}), {"phase": "response"})
	count(baseline.deny) == 0 with input as answered
	count(baseline.ask) == 0 with input as answered
}
