package lictor.u

_limit := 500

_limit := 600

_names contains "a"

_names := {"b"}

_f(x) := x

_f(x, y) := x + y

default _level := 1

default _level := 2

_map.a := 1

_map := {"b": 2}

_by[name] := 1 if some name in ["x"]

_by contains "y"

# These go together.
default _fine := false

_fine if input.phase == "list"

_same := 1

_same := 1

_part.a := 1

_part.b contains 2

allow if {
	_limit + _level + _map.a + _same > _f(1)
	_names
	_by.x
	_fine
	_part.a
	_part.b
}
