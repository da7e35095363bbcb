package lib.people

import future.keywords.in

roles_of(user) := data.roles.members[user]

is_writer(user) if "writer" in roles_of(user)
