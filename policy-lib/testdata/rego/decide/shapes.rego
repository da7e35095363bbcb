package lictor.u

import data.registry

# a comment with "quotes", {braces} and if
allow if {
	some x in input.context.args.numbers # if
	x > 1
	every y in input.context.args.numbers { y < 10 }
}

allow if input.context.args.if

deny contains "plain } text { if" if input.context.args.plain

deny contains {
	"id": "u.object",
	"message": sprintf("%s has `if` and {%d}", [
		name,
		n,
	]), # trailing
	"detail": `raw "text" } if {`,
} if {
	name := input.context.args.name
	n := count(name)
} # after

deny contains msg if {
	some i, v in input.context.args.numbers
	v > 5
	msg := {"id": "u.big", "message": concat(" ", [format_int(i, 10), format_int(v, 10)])}
}

deny contains {"id": "u.set", "message": concat(",", {"b"} | {"a"})} if input.context.args.set == true
deny contains {"id": x.if, "message": ""} if some x in input.context.args.members

#: ask {"numbers": [1, 2]}
#: permits @6
#: ask {"numbers": [1, 20]}
#: denies u.big@28
#: ask {"if": true, "plain": true}
#: permits @12
#: denies shapes.14@14
#: ask {"name": "abc"}
#: denies u.object@16
#: ask {"numbers": [6, 7]}
#: permits @6
#: denies u.big@28 u.big@28
#: ask {"set": true}
#: denies u.set@34
#: ask {"members": [{"if": "u.x"}, {"if": "u.y"}]}
#: denies u.x@35 u.y@35
#: ask {"members": [{"if": "u.x"}, {}]}
#: denies u.x@35
#: error 35 head is undefined
