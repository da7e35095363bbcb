package lictor.u

_asked if input.phase == "request"

_tool if {
	_asked
	input.action.name == "tools/call"
}

allow if false

allow if 1 > 2

allow if input.context.args.path in []

allow if {
	_tool
	input.phase == "response"
}

deny contains "a" if {
	input.resource.type == "model"
	input.resource.id == "files/read"
}

deny contains "b" if {
	input.action.name == "llm/chat"
	input.resource.id in {"files/read", "files/write"}
}

deny contains "c" if {
	some finding in input.facts.findings
	finding.category == "pii"
	finding.category in {"secret", "uninspected"}
}

deny contains "d" if {
	input.agent.id == "reader"
	not input.agent.id == "reader"
}

deny contains "e" if {
	input.context.args.lines == 3
	input.context.args.lines != 3
}

deny contains "f" if not true

# These can hold.
deny contains "g" if {
	input.phase == "request"
	input.phase != "list"
	input.action.name in {"mcp/connect", "tools/list"}
	input.resource.id == "files"
}

deny contains "h" if {
	some one in input.content
	some other in input.content
	one.origin == "user"
	other.origin == "system"
	input.content[0].media == "a"
	input.content[1].media == "b"
}

deny contains "i" if {
	input.phase == "request"
	count(input.content) > 0 with input.phase as "list"
}
