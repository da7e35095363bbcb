package lictor.u

import input.facts as known

_session := input.facts.session

_agent := input.facts.agent.attrs if input.phase == "request"

allow if {
	input.subjct.id == "alice@example.com"
	input.facts.agent.attrs.taem == "finance"
	input.facts["sesion"].kind == "opened"
}

deny contains "a" if _session.cals["files/read"] > 1

deny contains "b" if _agent.onwer == "finance"

deny contains "c" if {
	some finding in input.facts.findings
	finding.detecter == "pii/card"
}

deny contains "d" if {
	call := input.context
	call.arguments.path == "/etc"
}

deny contains "e" if known.findngs

deny contains "f" if {
	every actor in input.delegation { actor.name == "x" }
}

# Open objects are open.
deny contains "g" if input.context.args.anything.goes

deny contains "h" if input.subject.claims.groups[_] == "x"

deny contains "i" if input.facts.agent.attrs.attrs.level == 3
