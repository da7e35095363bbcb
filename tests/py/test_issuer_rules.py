"""Issuers of which more is wanted than an honest token: a profile, claims, bound tokens with nonces of ours, and the
documents of workloads (JWT-SVID)."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from calls import Answer, bearer, call_tool, chat
from fixture_server import ToolServer
from identity_site import (
    AGENT, ALICE, CLIENT, COST_CENTER, ELSEWHERE, GATEWAY, TRUSTED_DOMAIN, WORKLOAD, IdentitySite,
)
from idp import Holder, Honest, Mock
from mock_provider import Provider

LIFETIME_S = 300


class Strict:
    """The site and its issuers: `mock` with rules, `spire` for workloads, and one whose tokens are bound."""

    def __init__(self, folder: Path, bound: Honest) -> None:
        self.mock, self.spire, self.bound = Mock(folder), Mock(folder, name="spire"), bound
        self.site = IdentitySite(folder)
        self.site.believe(
            self.mock.issuer, 'profile = "at+jwt"', f"max_lifetime_s = {LIFETIME_S}",
            'required_claims = { department = ["sales", "finance"] }',
        )
        self.site.believe(self.bound.issuer, "dpop = { required = true, nonce = true }")
        keys = f'jwks = "{self.spire.issuer}/jwks"'
        domain = f'kind = "spiffe", trust_domain = "{TRUSTED_DOMAIN}"'
        self.site.issuers.append(f'{{ {domain}, aud = "{GATEWAY}", {keys}, algorithms = ["ES256"] }}')

    def token(self, **more: object) -> str:
        """A token that keeps the rules, but for `more`."""
        now = int(time.time())
        said = {
            "sub": ALICE, "client_id": CLIENT, "jti": "t-1", "department": "sales", "iat": now, "nbf": None,
            "exp": now + LIFETIME_S,
        }
        return self.mock.token(GATEWAY, said | more)

    def both(self, headers: dict[str, str]) -> list[Answer]:
        """The same credential at both enforcement points."""
        own = {"employee_id": ALICE}
        return [
            call_tool(self.site.accounting(), headers, COST_CENTER, own),
            chat(self.site.llm, headers),
        ]


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider, tools: dict[str, ToolServer], certified: Honest
) -> Iterator[Strict]:
    """All of it, in one process."""
    made = Strict(tmp_path_factory.mktemp("strict"), certified)
    try:
        made.site.start("together", provider.port, {name: server.port for name, server in tools.items()})
        yield made
        made.site.stop()
        made.site.verify()
    finally:
        for running in (made.site, made.mock, made.spire):
            running.kill()


def test_a_token_that_keeps_the_rules_is_served(strict: Strict) -> None:
    for answer in strict.both(bearer(strict.token())):
        assert answer.allowed, (answer.reasons, answer)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"client_id": None}, "claim_missing"),
        ({"jti": None}, "claim_missing"),
        ({"iat": None}, "claim_missing"),
        ({"department": None}, "claim_missing"),
        ({"department": "it"}, "claim_refused"),
        ({"exp": int(time.time()) + 3_600}, "lifetime_too_long"),
        ({"aud": [GATEWAY, ELSEWHERE]}, "audience_not_single"),
    ],
)
def test_each_rule_has_its_own_refusal(strict: Strict, more: dict, reason: str) -> None:
    for answer in strict.both(bearer(strict.token(**more))):
        assert (answer.status, answer.reasons) == (401, [reason]), answer
        strict.site.refused(answer.told, reason, decided=False)


def test_a_workload_shows_its_document_and_is_its_agent(strict: Strict) -> None:
    said = {"iss": None, "nbf": None, "sub": WORKLOAD}
    token = strict.spire.token(GATEWAY, said, {"typ": "JWT"})
    answer = chat(strict.site.llm, bearer(token))
    assert answer.allowed, (answer.reasons, answer)
    record = strict.site.call(answer.call_id)
    assert record["agent"] == {"type": "agent", "id": AGENT, "presented_as": WORKLOAD}, record
    for changed, reason in (
        # Without an issuer only a name of its trust domain says whose document it is.
        ({"sub": "spiffe://elsewhere.example/agents/expense"}, "claim_missing"),
        ({"sub": f"spiffe://{TRUSTED_DOMAIN}/../expense"}, "spiffe_id_invalid"),
        ({"aud": ELSEWHERE}, "audience_wrong"),
    ):
        token = strict.spire.token(GATEWAY, said | changed, {"typ": "JWT"})
        answer = chat(strict.site.llm, bearer(token))
        assert (answer.status, answer.reasons) == (401, [reason]), (changed, answer)


def test_bound_tokens_are_good_with_a_nonce_of_ours(strict: Strict) -> None:
    url = f"{strict.site.llm}/chat/completions"
    unbound = strict.bound.token(CLIENT, GATEWAY)["access_token"]
    strict.site.refused(chat(strict.site.llm, bearer(unbound)).told, "dpop_required", decided=False)
    holder = Holder()
    token = strict.bound.token(CLIENT, GATEWAY, proof_by=holder)["access_token"]
    shown = {"authorization": f"DPoP {token}", "dpop": holder.proof("POST", url, token)}
    asked = chat(strict.site.llm, shown)
    assert (asked.status, asked.reasons) == (401, ["dpop_nonce_missing"]), asked
    assert 'error="use_dpop_nonce"' in asked.headers["www-authenticate"], asked.headers
    nonce = asked.headers["dpop-nonce"]
    answer = chat(strict.site.llm, shown | {"dpop": holder.proof("POST", url, token, nonce=nonce)})
    assert answer.allowed, (answer.reasons, answer)
    made_up = chat(strict.site.llm, shown | {"dpop": holder.proof("POST", url, token, nonce="made-up")})
    assert (made_up.status, made_up.reasons) == (401, ["dpop_nonce_wrong"]), made_up
