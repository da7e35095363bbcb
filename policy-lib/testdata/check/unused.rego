package lictor.u

import data.numbers
import data.numbers as many
import input.subject
import rego.v1

allow if {
	path := input.context.args.path
	some i, text in input.content
	text.origin == "user"
	not _long(text, 3)
}

allow if {
	some x, y
	input.content[x].origin == "system"
	every k, v in input.content { v.media == "text/plain" }
	count([z | z := 1; w := 2]) == many.most
}

# `_unread` and `_` say that it is meant.
allow if {
	_unread := input.context.args.path
	some _, text in input.content
	text.origin == "tool_args"
}

_long(text, most) if count(text.text) > 100

_long({"text": text}, _) if startswith(text, "#")

default _apart(_) := 1

_apart(x) := x if x > 1
