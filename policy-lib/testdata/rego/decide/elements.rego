package lictor.u

allow contains "u.read" if input.context.args.allow

ask contains {"id": "u.manager", "message": "ask", "approvers": ["bob"], "count": 2, "expires": "1h"} if input.context.args.ask

obligations contains {"id": "u.mask", "type": "mask", "properties": {"with": "*", "n": 3}} if input.context.args.mask

limits contains {"id": "u.rate", "key": [input.subject.id, {"b": 1, "a": 2}], "kind": "rate", "max": 5} if input.context.args.limit

labels contains "seen.mail" if input.context.args.label

deny contains {"id": "u.late", "message": "", "shadow": true, "until": "2026-06-01"} if input.context.args.shadow

deny contains {"id": "u.past", "message": "", "shadow": true, "until": "2025-06-01"} if input.context.args.past

#: ask {"allow": true}
#: permits u.read@3
#: ask {"ask": true}
#: asks u.manager@5
#: ask {"mask": true}
#: duties u.mask@7
#: ask {"limit": true}
#: limits u.rate@9
#: ask {"label": true}
#: labels seen.mail
#: ask {"shadow": true, "past": true}
#: denies u.past@15
#: shadows u.late@13
