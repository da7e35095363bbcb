"""Honest tokens of a certified identity provider (`oidc-provider`): OAuth 2.0 access tokens (RFC 9068) for one
resource (RFC 8707), for the client itself and for a person who has logged in."""

import jwt
import pytest
from calls import Answer, bearer, call_tool, chat
from identity_site import AGENT, ALICE, CLIENT, COST_CENTER, ELSEWHERE, GATEWAY, IdentitySite
from idp import EXCHANGE, Honest
from lictor_site import REVIEW


def own(site: IdentitySite, headers: dict[str, str], who: str) -> Answer:
    """Asks for the cost centre of the person that the call is for."""
    return call_tool(site.accounting(), headers, COST_CENTER, {"employee_id": who})


def both(site: IdentitySite, headers: dict[str, str], who: str) -> list[Answer]:
    """The same credential at both enforcement points."""
    return [own(site, headers, who), chat(site.llm, headers)]


def test_tokens_of_the_provider_are_access_tokens_as_the_standard_has_them(certified: Honest) -> None:
    token = certified.token(CLIENT, GATEWAY, scope="tools")["access_token"]
    keys = jwt.PyJWKClient(f"{certified.issuer}/jwks").get_signing_key_from_jwt(token)
    said = jwt.decode(token, keys.key, ["ES256"], audience=GATEWAY, issuer=certified.issuer)
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert (said["client_id"], said["sub"], said["scope"]) == (CLIENT, CLIENT, "tools")


@pytest.mark.parametrize("who", [CLIENT, ALICE])
def test_a_client_is_the_agent_that_the_registry_says_it_is(
    believer: IdentitySite, certified: Honest, who: str
) -> None:
    for_itself = who == CLIENT
    granted = certified.token(CLIENT, GATEWAY) if for_itself else certified.login(CLIENT, GATEWAY, ALICE)
    assert granted["token_type"] == "Bearer"
    named = set()
    for answer in both(believer, bearer(granted["access_token"]), who):
        assert answer.allowed, (answer.reasons, answer)
        record = believer.call(answer.call_id)
        assert record["effect"] == "allow" and record["subject"]["id"] == who, record
        assert record["agent"] == {"type": "agent", "id": AGENT, "presented_as": CLIENT}, record
        assert record["credential"]["kind"] == "jwt" and record["credential"]["id"].startswith("sha256:")
        assert granted["access_token"] not in str(believer.records("--call", answer.call_id))
        named.add(record["credential"]["id"])
    assert len(named) == 1, "one token has one name, wherever it is shown"


def test_the_person_is_who_logged_in_and_nobody_else(believer: IdentitySite, certified: Honest) -> None:
    token = certified.login(CLIENT, GATEWAY, ALICE)["access_token"]
    answer = own(believer, bearer(token), "bob@example.com")
    believer.refused(answer.told, "expense.not_own_cost_center")


def test_a_token_for_another_resource_is_refused_at_both(believer: IdentitySite, certified: Honest) -> None:
    for granted in (certified.token(CLIENT, ELSEWHERE), certified.login(CLIENT, ELSEWHERE, ALICE)):
        for answer in both(believer, bearer(granted["access_token"]), ALICE):
            assert answer.status == 401 and "www-authenticate" in answer.headers, answer
            believer.refused(answer.told, "audience_wrong", decided=False)


def test_an_exchanged_token_names_who_acts(believer: IdentitySite, certified: Honest) -> None:
    subject_token = certified.login(CLIENT, ELSEWHERE, ALICE)["access_token"]
    kind = "urn:ietf:params:oauth:token-type:access_token"
    form = {"grant_type": EXCHANGE, "subject_token": subject_token, "subject_token_type": kind}
    granted = certified.token(CLIENT, GATEWAY, **form)
    assert granted["issued_token_type"] == kind
    answer = own(believer, bearer(granted["access_token"]), ALICE)
    assert answer.allowed, (answer.reasons, answer)
    record = believer.call(answer.call_id)
    assert (record["subject"]["id"], record["agent"]["id"]) == (ALICE, AGENT)


def test_a_client_that_no_registry_names_is_seen_and_not_served(
    believer: IdentitySite, certified: Honest
) -> None:
    token = certified.token("stranger", GATEWAY)["access_token"]
    for answer in both(believer, bearer(token), ALICE):
        believer.refused(answer.told, "agent_unknown")
    shadows = believer.lictor("audit", "show", "audit", "--shadow-agents")
    assert "stranger" in shadows, shadows


def test_an_agent_of_our_own_files_is_served_beside_it(believer: IdentitySite) -> None:
    answer = chat(believer.llm, bearer(believer.token(*REVIEW)))
    believer.refused(answer.told, "pr.model_not_allowed")
