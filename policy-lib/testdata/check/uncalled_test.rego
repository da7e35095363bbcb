package lictor.u

test_tested if _tested == 1

_mock := {"phase": "list"}
