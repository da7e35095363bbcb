package lictor.u

import data.numbers

_person if input.subject.type == "user"

allow if {
	_person
	numbers := 3
	count := numbers + 1
	time := count
	agent := input.subject.id
	session := input.facts.session
	input.context.args.lines < time
	agent != session.kind
}

deny contains "d" if {
	some _person in input.content
	_person.origin == "user"
	_sum([1])
}

_sum(sprintf) if sum(sprintf) > numbers.most

_g(x) := x

deny contains "e" if _g(1) == object(2)

object(x) := x
