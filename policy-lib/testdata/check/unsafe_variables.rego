package lictor.u

allow if nobody == 1

deny contains "a" if {
	input.context.args.path
	somebody.id == "x"
}

_helper(x) := y if x > z

deny contains "b" if _helper(1) > input.context.args.lines

deny contains {"id": "c", "message": text} if input.phase == "request"

deny contains "fine" if input.context.args.path == "/etc"
