"""`lictor kill` while calls are under way."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from calls import MODEL, bearer, call_tool, chat
from fixture_server import ToolServer
from identity_site import AGENT, ALICE, COST_CENTER, GATEWAY, IdentitySite, claims
from idp import Mock
from mock_provider import TEXT, Provider
from processes import until

OWN = {"employee_id": ALICE}
STREAM = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
# A revocation holds within five seconds; the rest is for a busy machine.
CUT_S = 10


@pytest.fixture(params=["together", "apart"])
def site(
    request: pytest.FixtureRequest, folder: Path, provider: Provider, tools: dict[str, ToolServer], mock: Mock
) -> Iterator[IdentitySite]:
    """A site of the test's own, because what is killed stays so."""
    site = IdentitySite(folder)
    try:
        site.believe(mock.issuer)
        site.start(request.param, provider.port, {name: server.port for name, server in tools.items()})
        yield site
        site.stop()
        site.verify()
    finally:
        site.kill()


def test_a_killed_agent_loses_its_open_stream_and_is_served_again_after_unkill(
    site: IdentitySite, provider: Provider, mock: Mock
) -> None:
    shown = bearer(mock.token(GATEWAY, claims(jti="before")))
    provider.pause = resume = threading.Event()
    before = len(provider.cut)
    try:
        with httpx2.stream(
            "POST", f"{site.llm}/chat/completions", json=STREAM, headers=shown, timeout=CUT_S
        ) as stream:
            assert stream.status_code == 200
            site.lictor("kill", "agent", AGENT, "--reason", "it was hijacked", *site.door())
            # The provider has still half of its answer to give, and waits.
            text = "".join(stream.iter_text())
    finally:
        resume.set()
    assert "agent_revoked" in text and TEXT[-10:] not in text and "[DONE]" not in text, text
    until("the provider is left", lambda: len(provider.cut) > before or None)
    provider.reset()
    for answer in (
        chat(site.llm, bearer(mock.token(GATEWAY, claims(jti="after")))),
        call_tool(site.accounting(), shown, COST_CENTER, OWN),
    ):
        site.refused(answer.told, "agent_revoked")
    site.lictor("unkill", "agent", AGENT, "--reason", "it was not", *site.door())
    again = bearer(mock.token(GATEWAY, claims(jti="again")))
    until("the agent is served again", lambda: chat(site.llm, again).allowed or None)


def test_a_killed_credential_is_refused_and_another_of_the_same_agent_is_not(
    site: IdentitySite, mock: Mock
) -> None:
    lost, kept = (bearer(mock.token(GATEWAY, claims(jti=jti))) for jti in ("lost", "kept"))
    answer = chat(site.llm, lost)
    assert answer.allowed
    credential = site.call(answer.call_id)["credential"]["id"]
    site.lictor("kill", "credential", credential, "--reason", "it was lost", *site.door())
    for answer in (chat(site.llm, lost), call_tool(site.accounting(), lost, COST_CENTER, OWN)):
        site.refused(answer.told, "credential_revoked")
    for answer in (chat(site.llm, kept), call_tool(site.accounting(), kept, COST_CENTER, OWN)):
        assert answer.allowed, (answer.reasons, answer)
