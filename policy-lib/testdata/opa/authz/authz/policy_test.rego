package authz_test

import data.authz

_read := {"user": "bob@example.com", "tool": "tickets/read", "arguments": {}}

test_readers_read if authz.allow with input as _read

test_readers_do_not_write if not authz.allow with input as object.union(_read, {"tool": "tickets/write"})

test_permissions_are_data if {
	not authz.allow with input as _read with data.authz.permissions as {"reader": []}
}

test_attachments[name] if {
	some name, case in {
		"ours": {"link": "https://files.example.com/a", "denied": set()},
		"others": {"link": "https://example.org/a", "denied": {"E17: no attachments from outside"}},
	}
	got := authz.deny with input as {"arguments": {"attachments": [case.link]}}
	got == case.denied
}

test_changed if {
	"the ticket was changed since it was read" in authz.deny with input as {"arguments": {"text": "b", "sha256": "x"}}
		with crypto.sha256 as "y"
}

todo_test_hours if false
