package lictor.travel

import data.lib.text
import data.lib.words

allow if {
	input.action.name == "tools/call"
	input.resourc.id == "trips/book"
	text.is_city(input.context.args.city)
}

deny contains {"id": "travel.long", "message": "too many nights"} if {
	input.context.args.nights > longest
}

deny contains {"id": "travel.far", "message": "too far"} if {
	input.phase == "reqest"
	text.distance(input.context.args.city) > 3
}

ask contains {"id": "travel.boss", "message": "ask", "approvers": ["bob@example.com"]} if {
	input.resource.id == "trips/bok"
}

deny contains {"id": "travel.trial", "shadow": true, "until": "2020-01-01"} if input.phase == "request"

allow if {
	input.phase == "list"
	input.phase == "request"
}
