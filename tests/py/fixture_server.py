"""The tool servers of both bundles, on the official MCP SDK, which speaks both protocol eras.

Run as `fixture_server.py accounting|github`: listens on a free port of this machine and prints it.
Beside the bundle's tools, `accounting` has one that no registry knows. `GET /seen` tells the headers of every
request for MCP that arrived.
"""

import asyncio
import socket
import sys
from pathlib import Path

import httpx
import uvicorn
from mcp.server.mcpserver import MCPServer
from processes import Server
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def accounting() -> MCPServer:
    """Receipts, cost centres, reports and messages."""
    server = MCPServer("accounting")

    @server.tool()
    def receipt_ocr(receipt_id: str) -> str:
        """Reads a receipt's image and returns its text"""
        return f"receipt {receipt_id}: card 4111 1111 1111 1111, 127.50 EUR"

    @server.tool()
    def get_employee_cost_center(employee_id: str) -> str:
        """Returns the cost centre of one employee"""
        return f"{employee_id}: CC-1042"

    @server.tool()
    def create_expense_report(
        employee_id: str, amount: float, cost_center: str = "", description: str = ""
    ) -> str:
        """Files an expense report, amount in euros"""
        return f"filed {amount:.2f} for {employee_id} {cost_center}{description}".strip()

    @server.tool()
    def send_notification(recipient: str, message: str) -> str:
        """Sends a message to one person"""
        return f"told {recipient}: {len(message)} characters"

    @server.tool()
    def wipe_ledger() -> str:
        """Deletes everything"""
        return "wiped"

    return server


def github() -> MCPServer:
    """Pull requests and branches."""
    server = MCPServer("github")

    @server.tool()
    def list_pull_requests(repository: str) -> str:
        """Lists the open pull requests of a repository"""
        return f"{repository}: #7"

    @server.tool()
    def add_review_comment(repository: str, number: int, body: str) -> str:
        """Comments on a pull request"""
        return f"{repository}#{number}: {len(body)} characters"

    @server.tool()
    def delete_branch(repository: str, branch: str) -> str:
        """Deletes a branch"""
        return f"{repository}: {branch} deleted"

    return server


SERVERS = {"accounting": accounting, "github": github}


class Recorder:
    """Remembers the headers of what goes to the server behind it, and tells them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.seen: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the beginning and end of the server."""
        if scope["type"] == "http" and scope["path"] == "/seen":
            await JSONResponse(self.seen)(scope, receive, send)
            return
        if scope["type"] == "http":
            self.seen.append({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
        await self.app(scope, receive, send)


class ToolServer(Server):
    """A tool server as a process of its own, as the tests see it."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        super().__init__(name, [python, str(Path(__file__)), name], folder)
        self.port = int(self.said(r"listening on (\d+)"))

    def seen(self) -> list[dict[str, str]]:
        """The headers of every request for MCP, in the order in which they came."""
        return httpx.get(f"http://127.0.0.1:{self.port}/seen", timeout=30).raise_for_status().json()


def main() -> None:
    """Serves until it is killed."""
    app = Recorder(SERVERS[sys.argv[1]]().streamable_http_app())
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(f"listening on {listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="warning", ws="none")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
