package lictor.u

# Everything is named rightly but for one tool: entries that are broken are there all the same.
allow if {
	input.agent.id == "reader"
	input.resource.id in {"files/read", "files/raed"}
}

deny contains "a" if input.agent.id == "writer"
