package lictor.u

_session := input.facts.session

allow if {
	input.resource.id == "files/raed"
	input.agent.id in {"reader", "riter"}
}

allow if input.resource.id == "gpt5"

allow if startswith(input.resource.id, "flies/")

deny contains "a" if input.subject.id == "mallory@example.com"

deny contains "b" if {
	some actor in input.delegation
	actor.id == "planner"
}

deny contains "c" if {
	some finding in input.facts.findings
	finding.detector == "pii/crad"
	finding.category != "pi"
}

deny contains "d" if _session.calls["files/wrte"] > 1

deny contains "e" if data.registry.tools["files/none"]

deny contains "f" if "finanse" in input.facts.subject.attrs.teams

deny contains "g" if "secret_raed" in _session.marks

labels contains "secret_read" if input.resource.id == "files/read"

ask contains {"id": "h", "approvers": ["bob@example.com", "bib@example.com"]} if input.phase == "request"

limits contains {"id": "files.twice", "key": "x"} if input.phase == "request"

limits contains {"id": "own", "key": "x", "kind": "budget", "max": 3, "per": "1h", "unit": "calls"} if input.phase == "request"

obligations contains {
	"id": "mask",
	"type": "mask",
	"properties": {"detectors": ["secret/*", "pii/iban"], "categories": ["secret", "custom"]},
} if input.phase == "response"

# What findings that nobody asked for are called.
deny contains "i" if {
	some finding in input.facts.findings
	finding.category == "uninspected"
	startswith(finding.detector, "detector_failed/")
}
