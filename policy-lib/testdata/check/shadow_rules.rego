package lictor.u

deny contains {"id": "a", "shadow": true, "until": "2026-05-31"} if input.phase == "request"

deny contains {"id": "b", "shadow": true, "until": "2026-06-02"} if input.phase == "request"

ask contains {"id": "c", "shadow": true, "until": "soon", "approvers": ["finance"]} if input.phase == "request"

obligations contains {"id": "d", "type": "notify", "shadow": true} if input.phase == "request"

deny contains {"id": "e", "shadow": false, "until": "2026-05-31T10:00:00Z"} if input.phase == "list"

limits contains {
	"id": "files.once",
	"key": input.subject.id,
	"shadow": true,
	"until": "2026-05-31T10:00:00Z",
} if input.phase == "request"
