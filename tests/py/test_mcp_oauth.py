"""The official MCP client, told nothing but the URL of a server behind the enforcement point and its own client
credentials: it finds the identity provider by itself (RFC 9728, RFC 8414) and comes with a token for the resource."""

import httpx2
import pytest
from identity_site import CLIENT, COST_CENTER, IdentitySite
from idp import CLIENT_SECRET, Honest
from mcp.client import Client
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

pytestmark = pytest.mark.anyio


class Memory:
    """Where the client keeps what it was given."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        """The token."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keeps a token."""
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """What the client is registered as."""
        return self.client

    async def set_client_info(self, client: OAuthClientInformationFull) -> None:
        """Keeps it."""
        self.client = client


def flow(site: IdentitySite, memory: Memory, issuer: str) -> ClientCredentialsOAuthProvider:
    """The client's own way to a token; it gives its secret to nobody but `issuer`."""
    return ClientCredentialsOAuthProvider(
        server_url=site.accounting(), storage=memory, client_id=CLIENT, client_secret=CLIENT_SECRET, issuer=issuer
    )


async def test_the_client_finds_the_provider_and_is_served(believer: IdentitySite, certified: Honest) -> None:
    memory = Memory()
    auth = flow(believer, memory, certified.issuer)
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        transport = streamable_http_client(believer.accounting(), http_client=http)
        async with Client(transport) as client:
            answer = await client.call_tool(COST_CENTER, {"employee_id": CLIENT})
    assert answer.content[0].text == f"{CLIENT}: CC-1042"
    assert memory.tokens is not None and memory.tokens.access_token.count(".") == 2


async def test_the_client_gives_its_secret_to_no_other_provider(
    believer: IdentitySite, certified: Honest
) -> None:
    before = certified.server.log.read_text()
    auth = flow(believer, Memory(), "https://login.elsewhere.example")
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        with pytest.raises(OAuthFlowError):
            await http.post(believer.accounting(), json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert certified.server.log.read_text() == before
