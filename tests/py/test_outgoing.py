"""What the servers behind the enforcement point are shown instead of the caller's token."""

from calls import bearer, call_tool
from fixture_server import ToolServer
from identity_site import AGENT, ALICE, CLIENT, COST_CENTER, GATEWAY, PLANNER, IdentitySite, claims
from idp import Honest, Mock, verified

OWN = {"employee_id": ALICE}
ASSERTION_MAX_TTL_S = 60


def shown_to(server: ToolServer, before: int) -> list[str]:
    """The tokens that arrived since there were `before` requests."""
    arrived = [dict(headers) for headers in server.seen()[before:]]
    return [headers["authorization"].removeprefix("Bearer ") for headers in arrived]


def test_a_server_is_shown_an_assertion_that_others_can_verify(
    believer: IdentitySite, mock: Mock, certified: Honest, tools: dict[str, ToolServer]
) -> None:
    server = tools["accounting"]
    before = len(server.seen())
    delegated = mock.token(GATEWAY, claims() | {"act": {"sub": AGENT, "act": {"sub": PLANNER}}})
    for_itself = certified.token(CLIENT, GATEWAY)["access_token"]
    answers = [
        call_tool(believer.accounting(), bearer(delegated), COST_CENTER, OWN),
        call_tool(believer.accounting(), bearer(for_itself), COST_CENTER, {"employee_id": CLIENT}),
    ]
    assert all(answer.allowed for answer in answers), answers
    assert delegated not in str(server.seen()) and for_itself not in str(server.seen())
    tokens = shown_to(server, before)
    assert len(tokens) == len(answers)
    issuer = believer.mcp.removesuffix("/mcp")
    audience = f"http://127.0.0.1:{server.port}/mcp"
    said = [verified(token, f"{issuer}/.well-known/jwks.json", issuer, audience)[1] for token in tokens]
    for claimed, answer in zip(said, answers, strict=True):
        assert claimed["exp"] - claimed["iat"] <= ASSERTION_MAX_TTL_S, claimed
        assert claimed["decision_id"] == believer.call(answer.call_id)["decision_id"]
        assert claimed["tool"] == f"accounting/{COST_CENTER}", claimed
    assert [claimed["sub"] for claimed in said] == [ALICE, CLIENT]
    assert said[0]["act"] == {"sub": AGENT, "act": {"sub": PLANNER}}, said[0]
    # As the registry calls it, whatever its provider does: servers know agents, not clients.
    assert said[1]["act"] == {"sub": AGENT}, said[1]


def test_an_assertion_is_no_credential_at_its_own_enforcement_point(
    believer: IdentitySite, mock: Mock, tools: dict[str, ToolServer]
) -> None:
    server = tools["accounting"]
    before = len(server.seen())
    token = mock.token(GATEWAY, claims())
    assert call_tool(believer.accounting(), bearer(token), COST_CENTER, OWN).allowed
    [assertion] = shown_to(server, before)
    answer = call_tool(believer.accounting(), bearer(assertion), COST_CENTER, OWN)
    assert answer.status == 401, answer
    believer.refused(answer.told, "issuer_unknown", decided=False)
