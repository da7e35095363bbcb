# Pull request reviews: which repositories, which words, which models. The tools
# themselves are granted, and deleting is forbidden, in cedar/pr_review.cedar.
package lictor.pr_review

# === who and what ===

_person if data.registry.users[input.subject.id]

_asked if input.phase == "request"

_tools := {"github/list_pull_requests", "github/add_review_comment"}

_calls(tool) if {
	input.action.name == "tools/call"
	input.resource.id == concat("/", ["github", tool])
}

_watched if input.context.args.repository in data.pr_review.repositories

# The team's list in the signed registry decides, for this agent and every other.
_team_models := data.registry.teams[input.facts.agent.attrs.team].models

_model_allowed if input.resource.id in _team_models

# === what is permitted ===

allow contains "pr.read" if {
	_person
	_calls("list_pull_requests")
	_watched
}

allow contains "pr.comment" if {
	_person
	_calls("add_review_comment")
	_watched
}

allow contains "pr.connect" if {
	input.action.name in {"mcp/connect", "tools/list"}
	input.resource.id == "github"
}

allow contains "pr.session" if {
	input.action.name == "session/open"
	_person
}

allow contains "pr.provider" if {
	input.action.name == "llm/other"
	input.resource.id == "openai"
}

allow contains "pr.model" if {
	input.action.name == "llm/chat"
	_model_allowed
}

list if {
	input.action.name == "tools/call"
	input.resource.id in _tools
}

list if {
	input.action.name == "llm/chat"
	_model_allowed
}

# === what is refused, and why ===

deny contains {
	"id": "pr.repository_not_watched",
	"message": "this agent reviews only the repositories that its bundle names",
	"detail": sprintf("repository %v", [input.context.args.repository]),
} if {
	_asked
	input.action.name == "tools/call"
	input.resource.id in _tools
	not _watched
}

deny contains {
	"id": "pr.model_not_allowed",
	"message": "the agent's team may not use this model",
	"detail": sprintf("model %v", [input.resource.id]),
} if {
	_asked
	input.resource.type == "model"
	not _model_allowed
}

# A comment is read by everybody who can read the repository.
deny contains {
	"id": "pr.secret_in_comment",
	"message": "the comment holds a secret",
} if {
	_found_in_comment("secret")
}

deny contains {
	"id": "pr.internal_host_in_comment",
	"message": "the comment names an internal host",
} if {
	_found_in_comment("internal_host")
}

_found_in_comment(category) if {
	_asked
	_calls("add_review_comment")
	some finding in input.facts.findings
	finding.category == category
	input.content[finding.content].origin == "tool_args"
}
