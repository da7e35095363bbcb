package lictor.u

allow if _read

_read if input.resource.id == "files/read"

_nobody if input.phase == "list"

_function(x) := x + 1

_itself(x) if _itself_too(x)

_itself_too(x) if x > 1

_tested := 1
