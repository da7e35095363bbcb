package lictor.u

_asked if input.phase == "reqest"

allow if {
	_asked
	input.action.name in {"tools/call", "tool/list"}
}

deny contains "a" if "mdel" == input.resource.type

deny contains "b" if {
	some text in input.content
	text.origin in ["user", "tool_results"]
}

deny contains "c" if {
	some i
	input.facts.findings[i].severity != "hihg"
}

deny contains "d" if "auth" in input.questions

deny contains "e" if input.facts.session.labels.integrity = "untrustd"

deny contains "f" if input.facts.resource.attrs.annotations.effect == "mutates"

# Not closed: any text may stand here.
deny contains "g" if input.subject.type == "robot"

deny contains "h" if input.context.protocol == "mcp/2026"
