"""Tokens that are bound to a key (DPoP, RFC 9449), issued by a certified identity provider (`oidc-provider`)."""

import time

import jwt
import pytest
from calls import Answer, call_tool, chat
from identity_site import AGENT, CLIENT, COST_CENTER, GATEWAY, IdentitySite
from idp import Holder, Honest, digest

OWN = {"employee_id": CLIENT}


@pytest.fixture(scope="module")
def holder() -> Holder:
    """Whoever holds the key."""
    return Holder()


@pytest.fixture(scope="module")
def bound(certified: Honest, holder: Holder) -> str:
    """A token that is bound to the key."""
    granted = certified.token(CLIENT, GATEWAY, proof_by=holder)
    assert granted["token_type"] == "DPoP"
    confirmed = jwt.decode(granted["access_token"], options={"verify_signature": False})["cnf"]
    assert set(confirmed) == {"jkt"}
    return granted["access_token"]


class Door:
    """One of the enforcement points, and the URL that a proof must be for."""

    def __init__(self, name: str, site: IdentitySite) -> None:
        self.name, self.site = name, site
        self.url = site.accounting() if name == "mcp" else f"{site.llm}/chat/completions"

    def send(self, headers: dict[str, str]) -> Answer:
        """One call that the agent may make."""
        if self.name == "mcp":
            return call_tool(self.url, headers, COST_CENTER, OWN)
        return chat(self.site.llm, headers)

    def refused(self, headers: dict[str, str], reason: str, scheme: str = "DPoP") -> None:
        """The call is refused, with a challenge that says how to come (RFC 9449 7.1)."""
        answer = self.send(headers)
        assert answer.status == 401 and answer.reasons == [reason], answer
        assert answer.headers["www-authenticate"].startswith(scheme), answer.headers
        self.site.refused(answer.told, reason, decided=False)


@pytest.fixture(params=["mcp", "http"])
def door(request: pytest.FixtureRequest, believer: IdentitySite) -> Door:
    """Both enforcement points, one after the other."""
    return Door(request.param, believer)


def test_a_token_is_good_with_a_proof_and_a_proof_is_good_once(door: Door, bound: str, holder: Holder) -> None:
    shown = {"authorization": f"DPoP {bound}", "dpop": holder.proof("POST", door.url, bound)}
    answer = door.send(shown)
    assert answer.allowed, (answer.reasons, answer)
    assert door.site.call(answer.call_id)["agent"]["id"] == AGENT
    door.refused(shown, "dpop_replayed")
    again = door.send(shown | {"dpop": holder.proof("POST", door.url, bound)})
    assert again.allowed, (again.reasons, again)


def test_a_bound_token_alone_is_worth_nothing(door: Door, bound: str, holder: Holder) -> None:
    door.refused({"authorization": f"DPoP {bound}"}, "dpop_missing")
    door.refused({"authorization": f"Bearer {bound}"}, "token_bound")
    proof = holder.proof("POST", door.url, bound)
    door.refused({"authorization": f"Bearer {bound}", "dpop": proof}, "token_bound")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"htm": "GET"}, "dpop_method_wrong"),
        ({"htu": "https://elsewhere.example/mcp"}, "dpop_url_wrong"),
        ({"iat": int(time.time()) - 3_600}, "dpop_expired"),
        ({"iat": int(time.time()) + 3_600}, "dpop_not_yet_valid"),
        ({"ath": digest("another token")}, "dpop_token_wrong"),
        ({"jti": None}, "dpop_invalid"),
    ],
)
def test_a_proof_of_something_else_proves_nothing(
    door: Door, bound: str, holder: Holder, claims: dict, reason: str
) -> None:
    proof = holder.proof("POST", door.url, bound, **claims)
    door.refused({"authorization": f"DPoP {bound}", "dpop": proof}, reason)


def test_a_token_that_is_bound_to_nothing_is_no_bound_one(door: Door, certified: Honest, holder: Holder) -> None:
    token = certified.token(CLIENT, GATEWAY)["access_token"]
    proof = holder.proof("POST", door.url, token)
    door.refused({"authorization": f"DPoP {token}", "dpop": proof}, "dpop_unbound", "Bearer")


def test_a_proof_by_another_key_proves_nothing(door: Door, bound: str) -> None:
    proof = Holder().proof("POST", door.url, bound)
    door.refused({"authorization": f"DPoP {bound}", "dpop": proof}, "dpop_key_wrong")
