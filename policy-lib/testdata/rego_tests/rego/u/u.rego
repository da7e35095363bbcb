package lictor.u

allow if {
	input.context.args.n <= data.most
	print("allowing", input.context.args.n)
}

allow if "boss" in _teams_of(input.subject.id)

deny contains {"id": "u.loud", "message": upper(input.context.args.text)} if {
	contains(input.context.args.text, "!")
}

_teams_of(user) := [name |
	some name, members in data.teams
	user in members
]
