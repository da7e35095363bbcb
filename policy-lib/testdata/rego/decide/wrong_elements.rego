package lictor.u

deny contains x if some x in input.context.args.deny

ask contains x if some x in input.context.args.ask

obligations contains x if some x in input.context.args.obligations

limits contains x if some x in input.context.args.limits

labels contains x if some x in input.context.args.labels

allow contains x if some x in input.context.args.allow

#: ask {"deny": [5]}
#: error 3 the element is a number, but an object was expected
#: ask {"deny": [true]}
#: error 3 the element is a boolean
#: ask {"deny": [["id"]]}
#: error 3 the element is an array
#: ask {"deny": [{"id": "a", "mesage": "x"}]}
#: error 3 member `mesage` means nothing here; did you mean `message`?
#: ask {"deny": [{"message": "x"}]}
#: error 3 member `id` is missing
#: ask {"deny": [{"id": "A-b"}]}
#: error 3 `A-b` is not an id
#: ask {"deny": [{"id": ""}]}
#: error 3 is not an id
#: ask {"deny": [{"id": "a", "message": 5}]}
#: error 3 member `message` is a number, but a string was expected
#: ask {"deny": [{"id": "a", "shadow": true}]}
#: error 3 `shadow` needs `until`
#: ask {"deny": [{"id": "a", "until": "2026-01-01"}]}
#: error 3 `until` without
#: ask {"deny": [{"id": "a", "shadow": true, "until": "soon"}]}
#: error 3 `soon` is not a value of `until`
#: ask {"deny": [{"id": "a", "shadow": "true", "until": "2026-01-01"}]}
#: error 3 member `shadow` is a string
#: ask {"ask": ["a"]}
#: error 5 the element is a string
#: ask {"ask": [{"id": "a", "count": 0}]}
#: error 5 member `count` is a number
#: ask {"ask": [{"id": "a", "count": 4294967296}]}
#: error 5 member `count`
#: ask {"ask": [{"id": "a", "approvers": "bob"}]}
#: error 5 a list of strings was expected
#: ask {"ask": [{"id": "a", "approvers": [1]}]}
#: error 5 a list of strings was expected
#: ask {"ask": [{"id": "a", "expires": "1 hour"}]}
#: error 5 member `expires`
#: ask {"obligations": [{"id": "a", "type": "maks"}]}
#: error 7 `maks` is not a value of `type`
#: ask {"obligations": [{"id": "a"}]}
#: error 7 member `type` is missing
#: ask {"obligations": [{"id": "a", "type": "mask", "properties": []}]}
#: error 7 member `properties` is an array
#: ask {"limits": [{"id": "a"}]}
#: error 9 member `key` is missing
#: ask {"limits": [{"id": "a", "key": 1, "kind": "fast"}]}
#: error 9 `fast` is not a value of `kind`
#: ask {"limits": [{"id": "a", "key": 1, "unit": "euros"}]}
#: error 9 `euros` is not a value of `unit`
#: ask {"limits": [{"id": "a", "key": 1, "max": -1}]}
#: error 9 member `max`
#: ask {"limits": [{"id": "a", "key": 1, "max": 1.5}]}
#: error 9 member `max`
#: ask {"labels": [1]}
#: error 11 the element is a number
#: ask {"labels": [""]}
#: error 11 is not a value of `labels`
#: ask {"allow": [true]}
#: permits @13
#: ask {"allow": [false]}
#: error 13 the element is a boolean, but an id was expected
#: ask {"allow": [{"id": "a"}]}
#: error 13 the element is an object
#: ask {"allow": ["Not an id"]}
#: error 13 is not an id
#: ask {"allow": ["u.ok"], "deny": [5]}
#: permits u.ok@13
#: error 3 the element is a number
