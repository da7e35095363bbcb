"""Callers that prove themselves with certificates: workloads with an X.509-SVID (SPIFFE), and tokens that are bound
to a certificate (RFC 8705) by a certified identity provider."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import jwt
import pytest
from calls import bearer, call_tool, chat
from certificates import Authority
from fixture_server import ToolServer
from identity_site import (
    AGENT, CLIENT, COST_CENTER, GATEWAY, TRUSTED_DOMAIN, WORKLOAD, IdentitySite, honest,
)
from idp import Honest
from mock_provider import Provider

OWN = {"employee_id": CLIENT}


class Certified:
    """The site behind TLS, the authorities that it believes, and a provider that binds tokens."""

    def __init__(self, folder: Path) -> None:
        self.servers, self.workloads, self.strangers = (
            Authority(folder, name) for name in ("servers", "workloads", "strangers")
        )
        self.expense = self.workloads.workload("expense", WORKLOAD)
        self.other = self.workloads.workload("other", f"spiffe://{TRUSTED_DOMAIN}/agents/other")
        server = self.servers.server("listener")
        self.provider = self.bound_to(folder)
        self.site = IdentitySite(folder)
        self.site.believe(self.provider.issuer, f'ca_file = "{self.servers.ca}"')
        tls = f'tls = {{ cert = "{server.cert}", key = "{server.key}", client_ca = ["{self.workloads.ca}"], '
        for name in ("pep_http", "pep_mcp"):
            self.site.lines[name] = tls + 'client_auth = "optional" }'
        trusted = f'[[identity.certificates]]\nca = ["{self.workloads.ca}"]\ntrust_domain = "{TRUSTED_DOMAIN}"'
        self.site.lines["identity"] = trusted

    def bound_to(self, folder: Path) -> Honest:
        """A provider behind TLS, which binds the client's tokens to the certificate that it shows."""
        server = self.servers.server("provider")
        tls = {"cert": str(server.cert), "key": str(server.key), "ca": str(self.workloads.ca)}
        return honest(folder, self.shown(self.expense), tls=tls, bound=True)

    def shown(self, certificate: object = None) -> ssl.SSLContext:
        """A client that shows a certificate."""
        return self.servers.trusted(certificate)


@pytest.fixture(scope="module", params=["together", "apart"])
def certified_site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    provider: Provider,
    tools: dict[str, ToolServer],
) -> Iterator[Certified]:
    """All of it, running."""
    made = Certified(tmp_path_factory.mktemp("certified"))
    try:
        made.site.start(request.param, provider.port, {name: server.port for name, server in tools.items()})
        assert made.site.llm.startswith("https://") and made.site.mcp.startswith("https://")
        yield made
        made.site.stop()
        made.site.verify()
    finally:
        made.site.kill()
        made.provider.kill()


def test_a_workload_is_the_agent_that_the_registry_says_it_is(certified_site: Certified) -> None:
    with httpx2.Client(verify=certified_site.shown(certified_site.expense)) as client:
        answer = chat(certified_site.site.llm, {}, client)
    assert answer.allowed, (answer.reasons, answer)
    record = certified_site.site.call(answer.call_id)
    assert record["agent"] == {"type": "agent", "id": AGENT, "presented_as": WORKLOAD}, record
    assert record["credential"]["kind"] == "spiffe", record


def test_a_workload_that_no_registry_names_is_seen_and_not_served(certified_site: Certified) -> None:
    with httpx2.Client(verify=certified_site.shown(certified_site.other)) as client:
        for answer in (
            chat(certified_site.site.llm, {}, client),
            call_tool(certified_site.site.accounting(), {}, COST_CENTER, OWN, client),
        ):
            certified_site.site.refused(answer.told, "agent_unknown")


def test_whoever_shows_no_certificate_needs_a_token(certified_site: Certified) -> None:
    with httpx2.Client(verify=certified_site.shown()) as client:
        answer = chat(certified_site.site.llm, {}, client)
    assert (answer.status, answer.reasons) == (401, ["token_missing"]), answer


def test_a_certificate_of_a_stranger_opens_no_connection(certified_site: Certified) -> None:
    forged = certified_site.strangers.workload("forged", WORKLOAD)
    with httpx2.Client(verify=certified_site.shown(forged)) as client:
        with pytest.raises(httpx2.TransportError):
            chat(certified_site.site.llm, {}, client)


def test_a_server_certificate_is_no_workload(certified_site: Certified) -> None:
    mistaken = certified_site.workloads.server("mistaken")
    with httpx2.Client(verify=certified_site.shown(mistaken)) as client:
        try:
            answer = chat(certified_site.site.llm, {}, client)
        except httpx2.TransportError:
            return
    assert answer.status == 401, answer


def test_a_bound_token_is_good_with_its_certificate_and_no_other(certified_site: Certified) -> None:
    site = certified_site.site
    token = certified_site.provider.token(CLIENT, GATEWAY)["access_token"]
    confirmed = jwt.decode(token, options={"verify_signature": False})["cnf"]
    assert confirmed == {"x5t#S256": certified_site.expense.thumbprint}
    with httpx2.Client(verify=certified_site.shown(certified_site.expense)) as client:
        for answer in (
            chat(site.llm, bearer(token), client),
            call_tool(site.accounting(), bearer(token), COST_CENTER, OWN, client),
        ):
            assert answer.allowed, (answer.reasons, answer)
            record = site.call(answer.call_id)
            assert (record["agent"]["id"], record["agent"]["presented_as"]) == (AGENT, CLIENT), record
    for thief, reason in ((certified_site.other, "certificate_binding_wrong"), (None, "certificate_binding_missing")):
        with httpx2.Client(verify=certified_site.shown(thief)) as client:
            for answer in (
                chat(site.llm, bearer(token), client),
                call_tool(site.accounting(), bearer(token), COST_CENTER, OWN, client),
            ):
                assert answer.status == 401 and "www-authenticate" in answer.headers, answer
                site.refused(answer.told, reason, decided=False)
