# Expense reports: amounts, people, and how often. The tools themselves are granted
# in cedar/expense.cedar; a call needs a permit from both.
package lictor.expense

# === who and what ===

# Facts come from the signed registry, never from the caller's claims.
_manager := input.facts.subject.attrs.manager

_person if data.registry.users[input.subject.id]

_asked if input.phase == "request"

_calls(tool) if {
	input.action.name == "tools/call"
	input.resource.id == concat("/", ["accounting", tool])
}

_own if input.context.args.employee_id == input.subject.id

_team_models := data.registry.teams[input.facts.agent.attrs.team].models

# === what is permitted ===

allow contains "expense.receipt_ocr" if {
	_person
	_calls("receipt_ocr")
}

allow contains "expense.own_cost_center" if {
	_person
	_calls("get_employee_cost_center")
	_own
}

allow contains "expense.own_report" if {
	_person
	_calls("create_expense_report")
	_own
	input.context.args.amount <= data.expense.never_over
}

allow contains "expense.notify_manager" if {
	_person
	_calls("send_notification")
	input.context.args.recipient == _manager
}

allow contains "expense.connect" if {
	input.action.name in {"mcp/connect", "tools/list"}
	input.resource.id == "accounting"
}

allow contains "expense.session" if {
	input.action.name == "session/open"
	_person
}

allow contains "expense.model" if {
	input.action.name == "llm/chat"
	input.resource.id in _team_models
}

# In a list no arguments are known yet, so it is the tool alone that counts.
list if {
	input.action.name == "tools/call"
	startswith(input.resource.id, "accounting/")
}

list if {
	input.action.name == "llm/chat"
	input.resource.id in _team_models
}

# === what is refused, and why ===

deny contains {
	"id": "expense.not_own_cost_center",
	"message": "cost centers are told only to the person they belong to",
	"detail": sprintf("asked for %v", [input.context.args.employee_id]),
} if {
	_asked
	_calls("get_employee_cost_center")
	not _own
}

deny contains {
	"id": "expense.not_own_report",
	"message": "a report is filed only for the person the agent acts for",
} if {
	_asked
	_calls("create_expense_report")
	not _own
}

deny contains {
	"id": "expense.over_limit",
	"message": sprintf("reports over %v are not filed by an agent", [data.expense.never_over]),
	"detail": sprintf("amount %v", [input.context.args.amount]),
} if {
	_asked
	_calls("create_expense_report")
	input.context.args.amount > data.expense.never_over
}

deny contains {
	"id": "expense.no_manager",
	"message": "this amount needs a manager's consent, and the registry names no manager",
} if {
	_asked
	_calls("create_expense_report")
	input.context.args.amount > data.expense.allow_up_to
	not _manager
}

deny contains {
	"id": "expense.not_manager",
	"message": "notifications go to the manager of the person the agent acts for, and to nobody else",
	"detail": sprintf("recipient %v", [input.context.args.recipient]),
} if {
	_asked
	_calls("send_notification")
	not _to_manager
}

_to_manager if input.context.args.recipient == _manager

# Text that people cannot see is how instructions travel unnoticed.
deny contains {
	"id": "expense.hidden_text",
	"message": "an argument holds characters that nobody can see",
} if {
	_asked
	startswith(input.resource.id, "accounting/")
	some finding in input.facts.findings
	finding.category == "hidden"
	input.content[finding.content].origin == "tool_args"
}

# === who must agree first ===

ask contains {
	"id": "expense.manager",
	"message": sprintf("reports over %v need the manager's consent", [data.expense.allow_up_to]),
	"approvers": [_manager],
	"count": 1,
	"expires": "15m",
} if {
	_asked
	_calls("create_expense_report")
	input.context.args.amount > data.expense.allow_up_to
	input.context.args.amount <= data.expense.never_over
	_manager
}

# === how often ===

limits contains {"id": "expense.ocr_once", "key": input.resource.id} if {
	_asked
	_calls("receipt_ocr")
}

limits contains {"id": "expense.report_once", "key": input.resource.id} if {
	_asked
	_calls("create_expense_report")
}

# === what must not leave in an answer ===

obligations contains {
	"id": "expense.mask_secrets",
	"type": "mask",
	"properties": {"categories": ["secret"], "replacement": "[secret masked]"},
} if {
	input.phase == "response"
	some finding in input.facts.findings
	finding.category == "secret"
	_answered(finding)
}

obligations contains {
	"id": "expense.mask_cards",
	"type": "mask",
	"properties": {"detectors": ["pii/card"], "replacement": "[card masked]"},
} if {
	input.phase == "response"
	some finding in input.facts.findings
	finding.detector == "pii/card"
	_answered(finding)
}

_answered(finding) if input.content[finding.content].origin in {"assistant", "tool_result"}
