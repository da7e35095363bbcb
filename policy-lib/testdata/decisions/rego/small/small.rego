package lictor.small

allow contains "small.use" if input.agent.id in {"good", "expired", "suspended", "ownerless"}

deny contains {"id": "small.seven", "message": "seven is not read"} if input.context.args.id == 7

deny contains {"id": "small.card", "message": "card numbers are not stored"} if {
	input.phase == "response"
	some finding in input.facts.findings
	finding.severity == "critical"
}

ask contains {"id": "small.ask", "message": "eight needs bob", "approvers": [input.facts.subject.attrs.manager]} if {
	input.context.args.id == 8
}

obligations contains {"id": "small.mask", "type": "mask", "properties": {"categories": ["pii"]}} if {
	some finding in input.facts.findings
	finding.category == "pii"
}

limits contains {"id": "small.once", "kind": "once", "key": input.resource.id} if input.resource.id == "s/any"

list if input.resource.id != "s/bare"
