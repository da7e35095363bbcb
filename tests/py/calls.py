"""Single requests through both enforcement points, of which a test chooses every header."""

from dataclasses import dataclass

import httpx2

MODERN = "2026-07-28"
MODEL = "gpt-5-nano"
TIMEOUT_S = 30
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


@dataclass
class Answer:
    """What came back, and what Lictor says of it if it refused."""

    status: int
    headers: httpx2.Headers
    body: dict

    @classmethod
    def of(cls, answer: httpx2.Response) -> "Answer":
        """Reads an answer that must be JSON."""
        return cls(answer.status_code, answer.headers, answer.json())

    @property
    def allowed(self) -> bool:
        """The call was carried out."""
        return self.status == 200 and "error" not in self.body

    @property
    def told(self) -> dict:
        """What Lictor says of a refusal."""
        error = self.body.get("error", {})
        return error.get("lictor") or error.get("data", {}).get("lictor") or {}

    @property
    def reasons(self) -> list[str]:
        """The ids of the reasons of a refusal."""
        return [reason["id"] for reason in self.told.get("reasons", [])]

    @property
    def call_id(self) -> str:
        """The id of the call, allowed or not."""
        return self.headers.get("lictor-call-id") or self.told["call_id"]


def bearer(token: str) -> dict[str, str]:
    """The usual way to show a token."""
    return {"authorization": f"Bearer {token}"}


def call_tool(
    url: str, headers: dict[str, str], tool: str, args: dict, client: httpx2.Client | None = None
) -> Answer:
    """`tools/call` in the era without sessions, to a server's URL."""
    params = {"name": tool, "arguments": args, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    headers = {
        "accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call", "mcp-name": tool, **headers,
    }
    post = client.post if client else httpx2.post
    return Answer.of(post(url, json=body, headers=headers, timeout=TIMEOUT_S))


def chat(url: str, headers: dict[str, str], client: httpx2.Client | None = None) -> Answer:
    """A chat with the expense agent's model; `url` ends in `/v1`."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    post = client.post if client else httpx2.post
    return Answer.of(post(f"{url}/chat/completions", json=body, headers=headers, timeout=TIMEOUT_S))
