"""The keys of an identity provider change under load, and the provider goes away and comes back."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from calls import bearer, call_tool, chat
from fixture_server import ToolServer
from identity_site import ALICE, COST_CENTER, GATEWAY, IdentitySite, Mock, claims
from load import CALLS_EACH, CLIENTS, PATIENT, Load, tokens
from mock_provider import Provider
from processes import until

ROTATIONS = 3
# Callers can cause a fetch of keys every five seconds, and who rotates faster than that gives no overlap.
ROTATE_S = 5.5
OWN = {"employee_id": ALICE}
# Longest that a caller may be kept waiting for keys that cannot be had, seconds: two for the keys, the rest for a
# busy machine. Without a bound of our own it would be the five of a fetch, and again.
PATIENCE_S = 4.5


@pytest.fixture
def rotating(
    request: pytest.FixtureRequest, folder: Path, provider: Provider, tools: dict[str, ToolServer]
) -> Iterator[tuple[IdentitySite, Mock]]:
    """A provider of this test's own, and Lictor that believes it."""
    mock = site = None
    try:
        mock = Mock(folder)
        site = IdentitySite(folder)
        site.believe(mock.issuer, "keys_max_age_s = 60", "refresh_s = 30")
        site.lines |= {"pep_http": PATIENT, "pep_mcp": PATIENT}
        site.start(request.param, provider.port, {name: server.port for name, server in tools.items()})
        yield site, mock
        site.stop()
        site.verify()
    finally:
        for running in (site, mock):
            if running is not None:
                running.kill()


@pytest.mark.parametrize("rotating", ["together"], indirect=True)
def test_keys_rotate_under_load_without_one_failed_request(rotating: tuple[IdentitySite, Mock]) -> None:
    site, mock = rotating
    first = tokens(mock)
    load = Load(site, first, "first")
    try:
        load.all_served("first")
        old = "first"
        for number in range(ROTATIONS):
            began = time.monotonic()
            new = f"key-{number}"
            mock.control(add=new)
            mock.control(sign=new)
            load.show(tokens(mock), new)
            load.all_served(new)
            mock.control(retire=old)
            old = new
            until("callers may cause the next fetch", lambda: time.monotonic() - began > ROTATE_S or None)
    finally:
        calls = load.end()
    load.none_failed()
    assert calls > CLIENTS * CALLS_EACH * (ROTATIONS + 1)
    fetched = mock.control()
    assert fetched <= 2 * (ROTATIONS + 1) + 2, f"{CLIENTS} clients caused {fetched} fetches of the keys"
    # The first key was retired and the set fetched since: what it signed holds no more.
    answer = chat(site.llm, bearer(first[0]))
    assert (answer.status, answer.reasons) == (401, ["key_unknown"]), answer


@pytest.mark.parametrize("rotating", ["together", "apart"], indirect=True)
def test_known_keys_serve_while_the_provider_is_down_and_new_ones_when_it_is_back(
    rotating: tuple[IdentitySite, Mock], folder: Path
) -> None:
    site, mock = rotating
    seen, unseen = (mock.token(GATEWAY, claims(jti=jti)) for jti in ("seen", "unseen"))
    assert chat(site.llm, bearer(seen)).allowed
    mock.control(add="second", sign="second")
    by_unfetched_key = mock.token(GATEWAY, claims())
    mock.kill()
    for token in (seen, unseen):
        answer = call_tool(site.accounting(), bearer(token), COST_CENTER, OWN)
        assert answer.allowed, answer
    # The second time there is nothing to wait for either.
    for _ in range(2):
        began = time.monotonic()
        answer = chat(site.llm, bearer(by_unfetched_key))
        waited_s = time.monotonic() - began
        assert (answer.status, answer.reasons) == (401, ["key_unknown"]), answer
        assert waited_s < PATIENCE_S, f"an unknown key kept its caller waiting for {waited_s:.1f} s"
    assert chat(site.llm, bearer(seen)).allowed
    back = Mock(folder, mock.port, name="mock-again", kid="third")
    try:
        token = back.token(GATEWAY, claims())
        until("the new key is believed", lambda: chat(site.llm, bearer(token)).allowed or None)
        assert call_tool(site.accounting(), bearer(token), COST_CENTER, OWN).allowed
        until("the old key is not", lambda: not chat(site.llm, bearer(seen)).allowed or None)
    finally:
        back.kill()


@pytest.mark.parametrize("rotating", ["together"], indirect=True)
def test_a_provider_that_hangs_keeps_only_those_waiting_who_need_it(rotating: tuple[IdentitySite, Mock]) -> None:
    site, mock = rotating
    known = mock.token(GATEWAY, claims())
    assert chat(site.llm, bearer(known)).allowed
    mock.control(add="second", sign="second", hang=True)
    unfetched = mock.token(GATEWAY, claims())
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.monotonic()
        strangers = [pool.submit(chat, site.llm, bearer(unfetched)) for _ in range(CLIENTS)]
        for _ in range(CALLS_EACH):
            assert call_tool(site.accounting(), bearer(known), COST_CENTER, OWN).allowed
            assert chat(site.llm, bearer(known)).allowed
        for stranger in strangers:
            answer = stranger.result()
            assert (answer.status, answer.reasons) == (401, ["key_unknown"]), answer
        assert time.monotonic() - began < PATIENCE_S, "somebody was kept waiting for keys that do not come"
    mock.control(hang=False)
    until("the new key is believed", lambda: chat(site.llm, bearer(unfetched)).allowed or None)


def test_lictor_starts_without_its_identity_provider_and_believes_it_once_it_is_there(
    folder: Path, provider: Provider, tools: dict[str, ToolServer]
) -> None:
    mock = Mock(folder)
    token = mock.token(GATEWAY, claims())
    mock.kill()
    site = IdentitySite(folder)
    try:
        site.believe(mock.issuer)
        site.start("together", provider.port, {name: server.port for name, server in tools.items()})
        answer = chat(site.llm, bearer(token))
        assert (answer.status, answer.reasons) == (401, ["issuer_unavailable"]), answer
        mock = Mock(folder, mock.port, name="mock-again")
        token = mock.token(GATEWAY, claims())
        until("the provider is believed", lambda: chat(site.llm, bearer(token)).allowed or None)
        site.stop()
        site.verify()
    finally:
        site.kill()
        mock.kill()
