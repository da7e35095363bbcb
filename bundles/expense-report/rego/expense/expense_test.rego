package lictor.expense_test

import data.lictor.expense

_call(tool, args) := {
	"phase": "request",
	"subject": {"type": "user", "id": "alice@example.com"},
	"agent": {"type": "agent", "id": "expense-report-v1"},
	"action": {"name": "tools/call"},
	"resource": {"type": "tool", "id": concat("/", ["accounting", tool])},
	"context": {"args": args},
	"content": [],
	"facts": {
		"subject": {"attrs": {"manager": "bob@example.com"}},
		"agent": {"attrs": {"team": "finance"}},
		"findings": [],
	},
}

_report(amount) := _call("create_expense_report", {"employee_id": "alice@example.com", "amount": amount})

_ids(elements) := {element.id | some element in elements}

test_a_small_report_is_permitted_and_nobody_is_asked if {
	expense.allow == {"expense.own_report"} with input as _report(500)
	count(expense.ask) == 0 with input as _report(500)
	count(expense.deny) == 0 with input as _report(500)
}

test_a_larger_report_asks_the_manager_of_the_registry if {
	asked := expense.ask with input as _report(500.01)
	some ask in asked
	ask.id == "expense.manager"
	ask.approvers == ["bob@example.com"]
}

test_the_largest_amount_that_a_manager_may_allow if {
	_ids(expense.ask) == {"expense.manager"} with input as _report(5000)
	_ids(expense.deny) == set() with input as _report(5000)
}

test_too_much_is_denied_and_not_asked if {
	_ids(expense.deny) == {"expense.over_limit"} with input as _report(5000.01)
	count(expense.ask) == 0 with input as _report(5000.01)
	count(expense.allow) == 0 with input as _report(5000.01)
}

test_claims_are_not_facts if {
	claimed := object.union(
		_call("send_notification", {"recipient": "mallory@example.com", "message": "filed"}),
		{"subject": {"claims": {"manager": "mallory@example.com"}}},
	)
	_ids(expense.deny) == {"expense.not_manager"} with input as claimed
}

test_only_the_own_cost_center if {
	own := _call("get_employee_cost_center", {"employee_id": "alice@example.com"})
	others := _call("get_employee_cost_center", {"employee_id": "bob@example.com"})
	expense.allow == {"expense.own_cost_center"} with input as own
	_ids(expense.deny) == {"expense.not_own_cost_center"} with input as others
	count(expense.allow) == 0 with input as others
}

test_only_the_manager_is_notified if {
	manager := _call("send_notification", {"recipient": "bob@example.com", "message": "filed"})
	stranger := _call("send_notification", {"recipient": "mallory@example.com", "message": "filed"})
	expense.allow == {"expense.notify_manager"} with input as manager
	_ids(expense.deny) == {"expense.not_manager"} with input as stranger
}

test_each_of_two_tools_has_its_own_once if {
	_ids(expense.limits) == {"expense.ocr_once"} with input as _call("receipt_ocr", {"receipt_id": "r-1"})
	_ids(expense.limits) == {"expense.report_once"} with input as _report(10)
}

test_denials_belong_to_the_request if {
	answered := object.union(_report(9000), {"phase": "response"})
	count(expense.deny) == 0 with input as answered
}

test_a_stranger_is_permitted_nothing if {
	call := object.union(
		_call("receipt_ocr", {"receipt_id": "r-1"}),
		{"subject": {"type": "user", "id": "mallory@example.com"}},
	)
	count(expense.allow) == 0 with input as call
}
