package lictor.u

_args := input.context.args

deny contains {"id": "a.negated_loop"} if { some x in _args.list; not x == 1 }

deny contains {"id": "b.unified_later"} if { _args.n == m; m = 5 }

deny contains {"id": "c.called_before_bound"} if { _positive(x); x = _args.n }

deny contains {"id": "d.not_of_undefined_call"} if { _args.d; not _positive(_args.missing) }

deny contains {"id": "e.in_set"} if _args.n in {1, 5}

deny contains {"id": "f.value_in_object"} if "bad" in _args.object

deny contains {"id": "g.constant_pattern"} if some _, "bad" in _args.object

deny contains {"id": "h.object_pattern"} if { some {"k": v} in _args.records; v == 1 }

deny contains {"id": "i.array_pattern"} if { [a, b] := _args.pair; a == b }

deny contains {"id": "j.joined"} if { some i; _args.pair[i] == _args.other[i] }

deny contains {"id": "k.truthy"} if { x := _args.truth; x }

deny contains {"id": "l.counted"} if count({x | some x in _args.list; x > 1}) > 0

deny contains {"id": "m.indexed"} if { some i; _args.list[i] > 1; not _args.list[i] > 5 }

_by_name[r.name] := r.level if some r in _args.levels

deny contains {"id": "n.partial_object"} if _by_name.root == 1

_names contains r.name if some r in _args.levels

deny contains {"id": "o.partial_set"} if "root" in _names

deny contains {"id": "p.partial_set_ref"} if _names.root

deny contains {"id": "q.unequal_to_undefined"} if _args.missing != _args.q

deny contains {"id": "r.every"} if every x in _args.list { x > 0 }

deny contains {"id": "s.every_of_undefined"} if every x in _args.missing { x > 0 }

deny contains {"id": "t.chosen", "message": m} if m := {"x": "found"}[_args.key]

deny contains {"id": "u.arithmetic"} if _args.n - 1 == 4

deny contains {"id": "w.with"} if _positive(_args.w) with input.context.args.unused as 1

deny contains {"id": "x.default"} if _flag == "off"

default _flag := "unknown"

_flag := "off" if _args.off

deny contains {"id": "y.else"} if _grade == "c"

_grade := "a" if { _args.grade > 8 } else := "b" if { _args.grade > 5 } else := "c" if { _args.grade > 0 }

deny contains {"id": "z.nested"} if {
	some x in [y | some y in _args.list; y in {z | some z in _args.other}]
	x == 2
}

_positive(x) if x > 0

#: ask {}
#: ask {"list": [1]}
#: denies r.every@43
#: ask {"list": [1, 2]}
#: denies a.negated_loop@5 l.counted@27 m.indexed@29 r.every@43
#: ask {"list": [9, -1]}
#: denies a.negated_loop@5 l.counted@27
#: ask {"list": []}
#: denies r.every@43
#: ask {"n": 5}
#: denies b.unified_later@7 c.called_before_bound@9 e.in_set@13 u.arithmetic@49
#: ask {"n": 0}
#: ask {"d": true}
#: denies d.not_of_undefined_call@11
#: ask {"object": {"a": "good", "b": "bad"}}
#: denies f.value_in_object@15 g.constant_pattern@17
#: ask {"object": {"bad": "good"}}
#: ask {"records": [{"k": 2}, {"k": 1}]}
#: denies h.object_pattern@19
#: ask {"pair": [3, 3]}
#: denies i.array_pattern@21
#: ask {"pair": [1, 2], "other": [2, 2]}
#: denies j.joined@23
#: ask {"truth": 0}
#: denies k.truthy@25
#: ask {"truth": null}
#: denies k.truthy@25
#: ask {"truth": ""}
#: denies k.truthy@25
#: ask {"truth": false}
#: ask {"levels": [{"name": "root", "level": 1}, {"name": "x", "level": 2}]}
#: denies n.partial_object@33 o.partial_set@37 p.partial_set_ref@39
#: ask {"levels": [{"name": "root", "level": 1}, {"name": "root", "level": 2}]}
#: error 31 multiple outputs
#: ask {"q": 1}
#: ask {"key": "x"}
#: denies t.chosen@47
#: ask {"key": "y"}
#: ask {"w": 1}
#: denies w.with@51
#: ask {"off": true}
#: denies x.default@53
#: ask {"grade": 3}
#: denies y.else@59
#: ask {"grade": 6}
#: ask {"list": [1, 2], "other": [2]}
#: denies a.negated_loop@5 l.counted@27 m.indexed@29 r.every@43 z.nested@63
