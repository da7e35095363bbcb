package authz

import data.lib.people
import rego.v1

default allow := false

allow if {
	some role in people.roles_of(input.user)
	input.tool in data.authz.permissions[role]
	count(deny) == 0
}

# METADATA
# title: no attachments from outside
# custom:
#   code: E17
deny contains sprintf("%s: %s", [meta.custom.code, meta.title]) if {
	meta := rego.metadata.rule()
	some attachment in input.arguments.attachments
	not startswith(attachment, "https://files.example.com/")
}

deny contains "the ticket was changed since it was read" if {
	expected := input.arguments.sha256
	expected != crypto.sha256(input.arguments.text)
}

decision := {"allow": allow, "reasons": deny}
