package lictor.travel

deny contains {"id": "travel.city", "message": "no city"} if {
	not input.context.args.city
	x =
}

labels contains "booked" if input.resource.id == "trips/book"
