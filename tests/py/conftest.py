"""One site for all tests of a deployment, with its servers started once; what tests would count together is
kept apart by credentials of their own. In the end the logs are verified, and hold every denial."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fixture_server import SERVERS, ToolServer
from identity_site import IdentitySite, honest
from idp import Honest, Mock
from lictor_site import REVIEW, Site
from mock_provider import Provider


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """The model provider."""
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(scope="session")
def tools() -> Iterator[dict[str, ToolServer]]:
    """The tool servers, by name."""
    folder = Path(tempfile.mkdtemp(prefix="lictor-tools-"))
    started: dict[str, ToolServer] = {}
    try:
        for name in SERVERS:
            started[name] = ToolServer(name, sys.executable, folder)
        yield started
    finally:
        for server in started.values():
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=["together", "apart"])
def site(
    request: pytest.FixtureRequest, provider: Provider, tools: dict[str, ToolServer]
) -> Iterator[Site]:
    """Lictor in one process (`lictor up`), and then in three."""
    root = Path(tempfile.mkdtemp(prefix="lictor-py-"))
    site = None
    try:
        site = Site(root)
        start = site.start_together if request.param == "together" else site.start_apart
        start(provider.port, {name: server.port for name, server in tools.items()})
        yield site
        site.stop()
        site.verify()
    finally:
        if site is not None:
            site.kill()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(autouse=True)
def provider_as_at_first(provider: Provider) -> None:
    """Each test begins with a provider that answers in its usual pieces."""
    provider.reset()


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough."""
    return "asyncio"


@pytest.fixture(scope="session")
def strange_login() -> Ed25519PrivateKey:
    """The key of a login server that nobody trusts."""
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def review_key(site: Site) -> str:
    """One key of the review agent, for tests that nothing counts."""
    return site.key(REVIEW)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of one test's own."""
    root = Path(tempfile.mkdtemp(prefix="lictor-py-"))
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def certified() -> Iterator[Honest]:
    """An honest identity provider."""
    root = Path(tempfile.mkdtemp(prefix="lictor-idp-"))
    provider = honest(root)
    yield provider
    provider.kill()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def mock() -> Iterator[Mock]:
    """An identity provider that says whatever it is told to."""
    root = Path(tempfile.mkdtemp(prefix="lictor-idp-"))
    provider = Mock(root)
    yield provider
    provider.kill()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session", params=["together", "apart"])
def believer(
    request: pytest.FixtureRequest,
    provider: Provider,
    tools: dict[str, ToolServer],
    certified: Honest,
    mock: Mock,
) -> Iterator[IdentitySite]:
    """Lictor that believes both identity providers, in one process and then in three."""
    root = Path(tempfile.mkdtemp(prefix="lictor-py-"))
    site = None
    try:
        site = IdentitySite(root)
        for iss in (certified.issuer, mock.issuer):
            site.believe(iss)
        site.lines["pep_mcp"] = f'authorization_servers = ["{certified.issuer}"]'
        site.start(request.param, provider.port, {name: server.port for name, server in tools.items()})
        yield site
        site.stop()
        site.verify()
    finally:
        if site is not None:
            site.kill()
        shutil.rmtree(root, ignore_errors=True)
