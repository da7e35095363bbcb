"""One site for all tests; every test has a new process, whose counters begin again. The audit logs go
on from one to the next and are verified in the end."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from lictor_site import Site
from provider import Provider


@pytest.fixture(scope="session")
def world() -> Iterator[SimpleNamespace]:
    """What outlives a test: `site`, `provider`, the ports of the tool servers, and API keys."""
    site = Site(Path(tempfile.mkdtemp(prefix="lictor-py-")))
    provider = Provider()
    try:
        keys = SimpleNamespace(
            agent=site.api_key("--agent", "pr-review-v1", "--subject", "user:dave@example.com"),
            bob=site.api_key("--subject", "user:bob@example.com", "--role", "approver"),
            alice=site.api_key("--subject", "user:alice@example.com", "--role", "approver"),
        )
        ports = {name: site.fixture(name) for name in ("accounting", "github")}
        yield SimpleNamespace(site=site, provider=provider, keys=keys, ports=ports)
        site.verify()
    finally:
        provider.close()
        site.remove()


@pytest.fixture
def lictor(world: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The world with everything running in it."""
    world.site.up(world.provider.port, world.ports)
    yield world
    world.site.down()


@pytest.fixture
def site(lictor: SimpleNamespace) -> Site:
    """The site alone."""
    return lictor.site
