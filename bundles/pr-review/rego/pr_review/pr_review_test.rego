package lictor.pr_review_test

import data.lictor.pr_review

_base := {
	"phase": "request",
	"subject": {"type": "user", "id": "dave@example.com"},
	"agent": {"type": "agent", "id": "pr-review-v1"},
	"content": [],
	"facts": {"agent": {"attrs": {"team": "platform"}}, "findings": []},
}

_tool(name, args) := object.union(_base, {
	"action": {"name": "tools/call"},
	"resource": {"type": "tool", "id": concat("/", ["github", name])},
	"context": {"args": args},
})

_chat(model) := object.union(_base, {
	"action": {"name": "llm/chat"},
	"resource": {"type": "model", "id": model},
	"context": {"args": {}},
})

_ids(elements) := {element.id | some element in elements}

test_a_watched_repository_is_read if {
	pr_review.allow == {"pr.read"} with input as _tool("list_pull_requests", {"repository": "example/payments"})
}

test_another_repository_is_refused if {
	call := _tool("list_pull_requests", {"repository": "example/hr"})
	_ids(pr_review.deny) == {"pr.repository_not_watched"} with input as call
	count(pr_review.allow) == 0 with input as call
}

test_the_teams_model_and_no_other if {
	pr_review.allow == {"pr.model"} with input as _chat("openai/gpt-5-mini")
	_ids(pr_review.deny) == {"pr.model_not_allowed"} with input as _chat("openai/gpt-5")
}

test_an_agent_without_a_team_may_use_no_model if {
	call := object.union(_chat("openai/gpt-5-mini"), {"facts": {"agent": {"attrs": {"team": "none"}}}})
	_ids(pr_review.deny) == {"pr.model_not_allowed"} with input as call
}

test_only_what_may_be_used_is_listed if {
	pr_review.list with input as object.union(_tool("add_review_comment", {}), {"phase": "list"})
	not pr_review.list with input as object.union(_tool("delete_branch", {}), {"phase": "list"})
	pr_review.list with input as object.union(_chat("openai/gpt-5-mini"), {"phase": "list"})
	not pr_review.list with input as object.union(_chat("openai/gpt-5"), {"phase": "list"})
}

_comment(category, origin) := object.union(
	_tool("add_review_comment", {"repository": "example/website", "number": 7, "body": "x"}),
	{
		"content": [{"origin": origin, "pointer": "/body", "media": "text/plain", "text": "x"}],
		"facts": {"findings": [{"detector": "a/b", "category": category, "content": 0, "start": 0, "end": 1}]},
	},
)

test_a_secret_does_not_leave_in_a_comment if {
	_ids(pr_review.deny) == {"pr.secret_in_comment"} with input as _comment("secret", "tool_args")
	_ids(pr_review.deny) == {"pr.internal_host_in_comment"} with input as _comment("internal_host", "tool_args")
	_ids(pr_review.deny) == set() with input as _comment("secret", "user")
}
