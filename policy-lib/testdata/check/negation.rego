package lictor.u

_blocked(name) if name in {"a", "b"}

allow if not _blocked(input.context.args.path)

allow if {
	path := input.context.args.path
	not _blocked(path)
}

list if not startswith(input.resource.id, "files/")

# In a rule that denies, what is missing denies, which is meant.
deny contains {"id": "u.path", "message": "no"} if not _blocked(input.context.args.path)
