# What agents may do with tickets. `allow`, `deny`, `ask` and `limits` are the rules
# that decide; every other rule of this package begins with an underscore.
package lictor.tickets

allow if {
	_tool("search")
}

allow if {
	_tool("close")
}

# Connecting to the server, seeing its tools and opening a session. A list shows only the
# tools that could be called.
allow if {
	input.action.name in {"mcp/connect", "tools/list", "session/open"}
}

# Deleting is never allowed, whatever another policy permits.
deny contains {
	"id": "tickets.delete",
	"message": "tickets are closed, never deleted",
} if {
	_tool("delete")
}

# The manager of the person the agent acts for has to agree first.
ask contains {
	"id": "tickets.high_priority",
	"message": "closing a high-priority ticket needs a manager",
	"approvers": [input.facts.subject.attrs.manager],
	"count": 1,
	"expires": "15m",
} if {
	_tool("close")
	input.context.args.priority == "high"
}

# How many: see `limits` in data.json. The key says whose calls are counted together.
limits contains {"id": "closed_tickets", "key": input.subject.id} if {
	_tool("close")
}

_tool(name) if {
	input.action.name == "tools/call"
	_is_tool(name)
}

_is_tool(name) if {
	input.resource.type == "tool"
	input.resource.id == concat("/", ["tickets", name])
}

# What may be seen in a list; without this rule it would be what is allowed.
list if {
	some name in ["search", "close"]
	_is_tool(name)
}
