package lictor.u

# Nothing is known of the data, so nothing is missed in it.
allow if {
	input.agent.id == "reader"
	input.context.args.lines < data.numbers.most
}

deny contains "a" if input.phse == "request"
