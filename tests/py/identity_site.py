"""A site that believes identity providers of others, and whose registry knows their names for its agents."""

import json
import shutil
import ssl
from pathlib import Path

from idp import BACK, CLIENT_SECRET, EXCHANGE, Honest, Mock
from lictor_site import BUNDLES, Site
from processes import REPOSITORY

ALICE = "alice@example.com"
AGENT = "expense-report-v1"
# What the identity provider calls the agent.
CLIENT = "expense-client"
GATEWAY = "https://gateway.example/mcp"
ELSEWHERE = "https://elsewhere.example/mcp"
PLANNER = "planner-v1"
TRUSTED_DOMAIN = "example.org"
WORKLOAD = f"spiffe://{TRUSTED_DOMAIN}/agents/expense"
COST_CENTER = "get_employee_cost_center"
# What the planner may do itself, and so have done for it: less than the agent that it delegates to.
PLANNED = f"""
@id("planner.tools")
permit (
    principal == Lictor::Agent::"{PLANNER}",
    action == Lictor::Action::"accounting/{COST_CENTER}",
    resource in Lictor::Server::"accounting"
);

@id("planner.models")
permit (
    principal == Lictor::Agent::"{PLANNER}",
    action == Lictor::Action::"llm/chat",
    resource == Lictor::Model::"openai/gpt-5-nano"
);
"""


def sources(root: Path) -> Path:
    """The bundles of the repository, whose registry also knows the agent by its names elsewhere, an agent that
    delegates to it and one that may not, one that acts by tokens of one issuer only, and the client as somebody on
    whose behalf the agent may act."""
    folder = root / "source"
    for name in BUNDLES:
        shutil.copytree(REPOSITORY / "bundles" / name, folder / name)
    path = folder / "expense-report" / "data.json"
    data = json.loads(path.read_text())
    registry = data["registry"]
    registry["agents"][AGENT]["identities"] = [{"client_id": CLIENT}, {"spiffe_id": WORKLOAD}]
    registry["agents"][AGENT]["parents"] = [PLANNER]
    known = {"owner": "erin@example.com", "team": "finance", "status": "active"}
    registry["agents"][PLANNER] = known
    registry["agents"]["contractor-v1"] = known | {"party": "third"}
    registry["agents"]["closed-v1"] = known | {"issuers": ["https://login.closed.example"]}
    registry["users"][CLIENT] = {"email": CLIENT, "cost_center": "CC-9000", "department": "machines"}
    path.write_text(json.dumps(data))
    (folder / "expense-report" / "cedar" / "planner.cedar").write_text(PLANNED)
    return folder


def issuer(iss: str, *more: str, aud: str = GATEWAY) -> str:
    """An entry of `[identity] issuers`, whose keys are found by discovery."""
    return "{ " + ", ".join([f'iss = "{iss}"', f'aud = "{aud}"', 'algorithms = ["ES256"]', *more]) + " }"


class IdentitySite(Site):
    """The site; the issuers that it believes are added before it starts."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, sources(root), keys=1)

    def believe(self, iss: str, *more: str) -> None:
        """Adds an issuer."""
        self.issuers.append(issuer(iss, *more))

    def start(self, how: str, provider_port: int, tool_ports: dict[str, int]) -> None:
        """Starts everything, `together` or `apart`."""
        start = self.start_together if how == "together" else self.start_apart
        start(provider_port, tool_ports)

    def accounting(self) -> str:
        """The URL of the accounting server's tools."""
        return f"{self.mcp}/accounting"

    def call(self, call_id: str, kind: str = "decision") -> dict:
        """The only record of that kind about a call's request."""
        records = self.records("--call", call_id)
        asked = [one["body"] for one in records if one["kind"] == kind and one["body"].get("phase") != "response"]
        assert asked, records
        return asked[0]


def honest(
    folder: Path, context: ssl.SSLContext | None = None, bound: bool = False, **more: object
) -> Honest:
    """A provider at which the agent is a client, and people can log in. `bound` tokens are good only with the
    certificate that the client showed."""
    grants = ["client_credentials", "authorization_code", EXCHANGE]
    common = {
        "client_secret": CLIENT_SECRET, "redirect_uris": [BACK], "grant_types": grants, "response_types": ["code"],
    }
    common |= {"tls_client_certificate_bound_access_tokens": bound}
    clients = [common | {"client_id": name} for name in (CLIENT, "stranger")]
    config = {"resources": [GATEWAY, ELSEWHERE], "local": GATEWAY, "people": [ALICE], "clients": clients}
    return Honest(folder, context, **(config | more))


def claims(subject: str = ALICE, agent: str = AGENT, **more: object) -> dict:
    """The claims by which `agent` acts for `subject`."""
    return {"sub": subject, "act": {"sub": agent}} | more


__all__ = ["Honest", "IdentitySite", "Mock", "claims", "honest", "issuer"]
