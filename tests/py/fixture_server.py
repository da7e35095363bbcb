"""The tool servers of both bundles, on the official MCP SDK, which speaks both protocol eras.

Run as `fixture_server.py accounting|github`: listens on a free port of this machine and prints it.
Beside the bundle's tools, `accounting` has one that no registry knows. `GET /seen` tells the headers of every
request for MCP that arrived, and which tools ran.
"""

import asyncio
import functools
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import uvicorn
from mcp.server.mcpserver import MCPServer
from processes import Server
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


RAN: list[str] = []


def counted(server: MCPServer) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """The decorator by which a server learns a tool, such that running it is remembered."""

    def tool(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def run(*args: object, **named: object) -> str:
            RAN.append(function.__name__)
            return function(*args, **named)

        return server.tool()(run)

    return tool


def accounting() -> MCPServer:
    """Receipts, cost centres, reports and messages."""
    server = MCPServer("accounting")
    tool = counted(server)

    @tool
    def receipt_ocr(receipt_id: str) -> str:
        """Reads a receipt's image and returns its text"""
        return f"receipt {receipt_id}: card 4111 1111 1111 1111, 127.50 EUR"

    @tool
    def get_employee_cost_center(employee_id: str) -> str:
        """Returns the cost centre of one employee"""
        return f"{employee_id}: CC-1042"

    @tool
    def create_expense_report(
        employee_id: str, amount: float, cost_center: str = "", description: str = ""
    ) -> str:
        """Files an expense report, amount in euros"""
        return f"filed {amount:.2f} for {employee_id} {cost_center}{description}".strip()

    @tool
    def send_notification(recipient: str, message: str) -> str:
        """Sends a message to one person"""
        return f"told {recipient}: {len(message)} characters"

    @tool
    def wipe_ledger() -> str:
        """Deletes everything"""
        return "wiped"

    return server


def github() -> MCPServer:
    """Pull requests and branches."""
    server = MCPServer("github")
    tool = counted(server)

    @tool
    def list_pull_requests(repository: str) -> str:
        """Lists the open pull requests of a repository"""
        return f"{repository}: #7"

    @tool
    def add_review_comment(repository: str, number: int, body: str) -> str:
        """Comments on a pull request"""
        return f"{repository}#{number}: {len(body)} characters"

    @tool
    def delete_branch(repository: str, branch: str) -> str:
        """Deletes a branch"""
        return f"{repository}: {branch} deleted"

    return server


SERVERS = {"accounting": accounting, "github": github}


class Recorder:
    """Remembers the headers of what goes to the server behind it, and tells them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.seen: list[list[tuple[str, str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the beginning and end of the server."""
        if scope["type"] == "http" and scope["path"] == "/seen":
            await JSONResponse({"headers": self.seen, "ran": RAN})(scope, receive, send)
            return
        if scope["type"] == "http":
            headers = scope["headers"]
            self.seen.append([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
        await self.app(scope, receive, send)


class ToolServer(Server):
    """A tool server as a process of its own, as the tests see it."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        super().__init__(name, [python, str(Path(__file__)), name], folder)
        self.port = int(self.said(r"listening on (\d+)"))

    def seen(self) -> list[list[list[str]]]:
        """The headers, as pairs, of every request for MCP, in the order in which they came."""
        return self.told()["headers"]

    def ran(self) -> list[str]:
        """Every tool that ran, in order."""
        return self.told()["ran"]

    def told(self) -> dict:
        """What the process remembers."""
        return httpx2.get(f"http://127.0.0.1:{self.port}/seen", timeout=30).raise_for_status().json()


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
