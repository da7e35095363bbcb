# The standard policy of the benchmarks: 20 rules over roles, arguments and time.
package lictor.standard

_agent := data.registry.agents[input.agent.id]

_tool := data.registry.tools[input.resource.id]

_roles contains role if some role in _agent.attrs.roles

_roles contains role if {
	some team in _agent.attrs.teams
	some role in data.roles_of_team[team]
}

_areas contains area if {
	some role in _roles
	some area in data.areas_of_role[role]
}

allow if _tool.attrs.area in _areas

allow if "admin" in _roles

allow if input.agent.id in _tool.attrs.owners

deny contains {"id": "tool.off", "message": "the tool is switched off"} if _tool.attrs.off

deny contains {"id": "tenant.other", "message": "another tenant"} if input.tenant != _agent.attrs.tenant

deny contains {"id": "path.outside", "message": "outside the files folder"} if {
	not startswith(input.context.args.path, "/files/")
}

deny contains {"id": "path.up", "message": "the path goes up"} if contains(input.context.args.path, "..")

deny contains {"id": "path.key", "message": "a key file"} if endswith(input.context.args.path, ".key")

deny contains {"id": "rows.many", "message": "too many rows"} if input.context.args.rows > _tool.attrs.max_rows

deny contains {"id": "mode.write", "message": "writing needs a role"} if {
	input.context.args.mode == "write"
	not "writer" in _roles
}

deny contains {"id": "host.other", "message": "the host is not on the list"} if {
	input.context.args.host
	not input.context.args.host in data.hosts
}

deny contains {"id": "command.bad", "message": "the command is refused"} if {
	regex.match(`(^|[;&|]\s*)(rm|dd|mkfs)\b`, input.context.args.command)
}

deny contains {"id": "loop", "message": "the call repeats"} if input.facts.signals.loop > 5

deny contains {"id": "rate", "message": "far more than usual"} if input.facts.signals.rate > 50

obligations contains {"id": "log.sensitive", "type": "log_full", "properties": {}} if _tool.attrs.sensitive

obligations contains {"id": "tell.owner", "type": "notify", "properties": {"to": _tool.attrs.owners[0]}} if {
	input.context.args.mode == "write"
}

ask contains {"id": "sensitive.ask", "message": "needs a person", "approvers": ["ops"], "count": 1, "expires": "1h"} if {
	_tool.attrs.sensitive
	input.context.args.rows > 1000
}
