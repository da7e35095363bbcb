"""Tokens of an identity provider that says whatever it is told to (`oauth2-mock-server`): delegation as it should
be, and everything that must not be believed although the provider is."""

import time

import pytest
from calls import bearer, call_tool, chat
from identity_site import AGENT, ALICE, COST_CENTER, ELSEWHERE, GATEWAY, PLANNER, IdentitySite, claims
from idp import Honest, Mock

NOW = int(time.time())
DAY_S = 86_400
OWN = {"employee_id": ALICE}


def chain(actors: list[str]) -> dict:
    """`act` of these actors, the agent first (RFC 8693 4.1)."""
    inner: dict = {}
    for actor in reversed(actors):
        inner = {"sub": actor} | ({"act": inner} if inner else {})
    return inner


# Claims beside those of an honest token, header, forgery, and the reason.
HOSTILE: dict[str, tuple[dict, dict, str | None, str]] = {
    "without a signature": ({}, {}, "unsigned", "token_malformed"),
    "algorithm none": ({}, {}, "none", "token_malformed"),
    "public key as a shared secret": ({}, {}, "public_key_as_secret", "algorithm_refused"),
    "claims of another token": ({}, {}, "other_claims", "signature_invalid"),
    "a claim twice": ({}, {}, "twice", "token_malformed"),
    "a key of its own": ({}, {"jwk": {"kty": "oct", "k": "AA"}}, None, "header_refused"),
    "keys somewhere else": ({}, {"jku": "https://evil.example/jwks"}, None, "header_refused"),
    "a certificate somewhere else": ({}, {"x5u": "https://evil.example/x"}, None, "header_refused"),
    "a key that is not there": ({}, {"kid": "../../etc/passwd"}, None, "key_unknown"),
    "not an access token": ({}, {"typ": "logout+jwt"}, None, "type_refused"),
    "another issuer": ({"iss": "https://evil.example"}, {}, None, "issuer_unknown"),
    "no issuer": ({"iss": None}, {}, None, "claim_missing"),
    "another audience": ({"aud": ELSEWHERE}, {}, None, "audience_wrong"),
    "no audience": ({"aud": None}, {}, None, "claim_missing"),
    "expired": ({"iat": NOW - DAY_S, "nbf": NOW - DAY_S, "exp": NOW - 1}, {}, None, "token_expired"),
    "no expiry": ({"exp": None}, {}, None, "claim_missing"),
    "not yet valid": ({"nbf": NOW + DAY_S, "exp": NOW + 2 * DAY_S}, {}, None, "token_not_yet_valid"),
    "issued tomorrow": ({"iat": NOW + DAY_S, "exp": NOW + 2 * DAY_S}, {}, None, "token_not_yet_valid"),
    "times as texts": ({"exp": str(NOW + DAY_S)}, {}, None, "claim_invalid"),
    "no subject": ({"sub": None}, {}, None, "claim_missing"),
    "subject of two lines": ({"sub": "alice\nadmin"}, {}, None, "claim_invalid"),
    "an actor without a name": ({"act": {"iss": "x"}}, {}, None, "claim_missing"),
    "actors in a loop": ({"act": chain([AGENT, PLANNER, AGENT])}, {}, None, "delegation_loop"),
    "fifty actors": ({"act": chain([f"a{at}" for at in range(50)])}, {}, None, "delegation_too_deep"),
    "claims without end": ({"x": "x" * 20_000}, {}, None, "token_too_large"),
}


def test_delegation_is_in_the_decision_and_in_the_log(believer: IdentitySite, mock: Mock) -> None:
    token = mock.token(GATEWAY, claims() | {"act": chain([AGENT, PLANNER])})
    for answer in (
        call_tool(believer.accounting(), bearer(token), COST_CENTER, OWN),
        chat(believer.llm, bearer(token)),
    ):
        assert answer.allowed, (answer.reasons, answer)
        record = believer.call(answer.call_id)
        assert (record["subject"]["id"], record["agent"]["id"]) == (ALICE, AGENT), record
        assert [actor["id"] for actor in record["delegation"]] == [PLANNER], record


def test_what_is_done_for_an_agent_is_never_more_than_it_may_do_itself(
    believer: IdentitySite, mock: Mock
) -> None:
    args = {"receipt_id": "r-1"}
    alone = mock.token(GATEWAY, claims())
    assert call_tool(believer.accounting(), bearer(alone), "receipt_ocr", args).allowed
    planned = mock.token(GATEWAY, claims() | {"act": chain([AGENT, PLANNER])})
    answer = call_tool(believer.accounting(), bearer(planned), "receipt_ocr", args)
    believer.refused(answer.told, "no_permit")


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_tokens_are_refused_for_their_own_reason(
    believer: IdentitySite, mock: Mock, what: str
) -> None:
    more, header, forge, reason = HOSTILE[what]
    token = mock.token(GATEWAY, claims() | more, header, forge)
    for answer in (
        call_tool(believer.accounting(), bearer(token), COST_CENTER, OWN),
        chat(believer.llm, bearer(token)),
    ):
        assert answer.status == 401 and answer.reasons == [reason], (what, answer)
        assert answer.headers["www-authenticate"].startswith("Bearer"), (what, answer)
        assert token not in str(answer.body)
        believer.refused(answer.told, reason, decided=False)
    # Whoever is honest is served as before.
    honest = bearer(mock.token(GATEWAY, claims()))
    assert call_tool(believer.accounting(), honest, COST_CENTER, OWN).allowed


def test_no_provider_speaks_for_another(believer: IdentitySite, mock: Mock, certified: Honest) -> None:
    for kid, reason in (("provider-1", "signature_invalid"), ("first", "key_unknown")):
        token = mock.token(GATEWAY, claims(iss=certified.issuer), {"kid": kid})
        for answer in (
            call_tool(believer.accounting(), bearer(token), COST_CENTER, OWN),
            chat(believer.llm, bearer(token)),
        ):
            believer.refused(answer.told, reason, decided=False)


@pytest.mark.parametrize(
    ("actors", "reason"),
    [
        ([AGENT, "nobody-knows-me"], "agent_unknown"),
        (["nobody-knows-me", AGENT], "agent_unknown"),
        ([AGENT, "contractor-v1"], "delegation_refused"),
        (["closed-v1"], "agent_issuer_refused"),
    ],
)
def test_actors_are_who_the_registry_says_they_are(
    believer: IdentitySite, mock: Mock, actors: list[str], reason: str
) -> None:
    token = mock.token(GATEWAY, claims() | {"act": chain(actors)})
    answer = call_tool(believer.accounting(), bearer(token), COST_CENTER, OWN)
    assert answer.status in (200, 403), answer
    believer.refused(answer.told, reason)
