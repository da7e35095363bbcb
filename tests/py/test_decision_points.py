"""Enforcement points that reach decision points over TLS and prove themselves with certificates: one of them, and
several of which one dies."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from calls import TIMEOUT_S, Answer, bearer, call_tool, chat
from certificates import LOCAL, Authority, Certificate
from fixture_server import ToolServer
from identity_site import AGENT, ALICE, COST_CENTER, GATEWAY, IdentitySite, claims
from idp import Mock
from load import CALLS_EACH, CLIENTS, PATIENT, Load, tokens
from mock_provider import Provider
from processes import Server, until

OWN = {"employee_id": ALICE}
PEPS = ("pep-http", "pep-mcp")
# The name that the certificate of every decision point carries, wherever it listens.
PDP_NAME = "localhost"
OPERATOR = "spiffe://example.org/operator"
DEATHS = 2


class Points(IdentitySite):
    """A site with decision points behind TLS. Each enforcement point is known by its certificate, and may ask only
    about what is its own."""

    def __init__(self, folder: Path, mock: Mock, provider: Provider, tools: dict[str, ToolServer]) -> None:
        super().__init__(folder)
        self.believe(mock.issuer)
        self.token = mock.token(GATEWAY, claims())
        self.behind = provider.port, {name: server.port for name, server in tools.items()}
        self.servers_ca, self.peers_ca, self.strangers_ca = (
            Authority(folder, name) for name in ("servers", "peers", "strangers")
        )
        self.certificate = self.servers_ca.server("pdp")
        self.known = {name: self.peers_ca.client(name, f"{name}.internal") for name in PEPS}
        self.operator = self.peers_ca.workload("operator", OPERATOR)
        self.ports: list[int] = []
        self.points: list[Server] = []
        self.lines |= {"pep_http": PATIENT, "pep_mcp": PATIENT}
        self.writers = {f"state/{name}": name for name in PEPS}

    def start_points(self, count: int) -> None:
        """Starts decision points, each on a port that it keeps."""
        for at in range(count):
            self.points.append(self.start_point(at, 0))
            self.ports.append(int(self.points[at].said(rf"listening address={LOCAL}:([0-9]+)")))
            self.writers[f"state/pdp-{at}"] = "pdp"
            self.audits.append(f"audit-{at}")
        self.pdp = f"https://{LOCAL}:{self.ports[0]}"

    def start_point(self, at: int, port: int, log: str = "") -> Server:
        """Starts one of them."""
        file = f"pdp-{at}.toml"
        more = f"""
tls = {{ cert = "{self.certificate.cert}", key = "{self.certificate.key}", client_ca = ["{self.peers_ca.ca}"] }}
peps = [
    {{ id = "pep-http", dns = "pep-http.internal", allow = {{ actions = ["llm/*"] }} }},
    {{ id = "pep-mcp", dns = "pep-mcp.internal", allow = {{ resources = ["tool:accounting/*"] }} }},
]
operators = [{{ id = "carol", spiffe_id = "{OPERATOR}", roles = ["operator", "auditor"] }}]
"""
        (self.root / file).write_text(self.common(more, f"{LOCAL}:{port}", f"state/pdp-{at}", f"audit-{at}"))
        server = self.run("lictor-pdp", "-c", file, log=log or f"pdp-{at}")
        # Ended after those that ask it.
        self.servers.insert(0, self.servers.pop())
        return server

    def kill_point(self, at: int) -> None:
        """Ends one as a power cut would."""
        self.servers.remove(self.points[at])
        self.points[at].kill()

    def start_peps(self, shown: dict[str, Certificate | None], ca: Path | None = None, name: str = PDP_NAME) -> None:
        """Starts both enforcement points. They show these certificates, and believe decision points of that name
        and authority."""
        addresses = [f"https://{LOCAL}:{port}" for port in self.ports]
        lines = []
        for pep, own in shown.items():
            mine = f', cert = "{own.cert}", key = "{own.key}"' if own else ""
            lines.append(f"""
pdp = {addresses if len(addresses) > 1 else f'"{addresses[0]}"'}
pdp_tls = {{ ca = ["{ca or self.servers_ca.ca}"], server_name = "{name}"{mine} }}
state_dir = "state/{pep}"
""")
        (self.root / "peps.toml").write_text(self.common() + self.peps(*self.behind, *lines))
        http, mcp = (self.run(f"lictor-{pep}", "-c", "peps.toml") for pep in PEPS)
        self.llm = f"http://{http.said(r'listening address=([0-9.:]+)')}/v1"
        self.mcp = f"http://{mcp.said(r'listens listen=([0-9.:]+)')}/mcp"

    def both(self) -> list[Answer]:
        """An honest call through each enforcement point."""
        shown = bearer(self.token)
        return [chat(self.llm, shown), call_tool(self.accounting(), shown, COST_CENTER, OWN)]

    def said_of_points(self, metric: str, labels: str = "") -> list[dict[str, int]]:
        """What each enforcement point says of the decision points, by their addresses."""
        url = self.mcp.removesuffix("/mcp"), self.llm.removesuffix("/v1")
        pages = [httpx2.get(f"{one}/metrics", headers=bearer(self.token), timeout=TIMEOUT_S).text for one in url]
        line = rf'^lictor_pdp_{metric}{{pdp="([^"]+)"{labels}}} ([0-9]+)$'
        return [{address: int(value) for address, value in re.findall(line, page, re.M)} for page in pages]

    def all_connected(self) -> None:
        """Waits until each enforcement point is connected to each decision point."""
        wanted = {f"https://{LOCAL}:{port}": 1 for port in self.ports}
        until("all are connected", lambda: all(one == wanted for one in self.said_of_points("connected")) or None)

    def door(self) -> list[str]:
        """How the operator reaches the first decision point."""
        own = ["--pdp-cert", str(self.operator.cert), "--pdp-key", str(self.operator.key)]
        return ["--pdp", self.pdp, "--pdp-ca", str(self.servers_ca.ca), "--pdp-server-name", PDP_NAME, *own]


@pytest.fixture
def points(folder: Path, mock: Mock, provider: Provider, tools: dict[str, ToolServer]) -> Iterator[Points]:
    """The site, of which nothing runs yet."""
    site = Points(folder, mock, provider, tools)
    try:
        yield site
        site.stop()
        site.verify()
    finally:
        site.kill()


def test_both_enforcement_points_ask_over_tls_and_are_known_by_their_certificates(points: Points) -> None:
    points.start_points(1)
    points.start_peps(points.known)
    for name, answer in zip(PEPS, points.both(), strict=True):
        assert answer.allowed, (answer.reasons, answer)
        assert points.call(answer.call_id)["peer"] == f"peer:{name}"
    # A tool of another server is not what this enforcement point is registered for.
    answer = call_tool(f"{points.mcp}/github", bearer(points.token), "list_pull_requests", {"repository": "x"})
    points.refused(answer.told, "pep_not_registered_for")
    points.lictor("kill", "agent", AGENT, "--reason", "it was hijacked", *points.door())
    for answer in points.both():
        points.refused(answer.told, "agent_revoked")
    points.lictor("unkill", "agent", AGENT, "--reason", "it was not", *points.door())
    until("the agent is served again", lambda: all(answer.allowed for answer in points.both()) or None)
    # Enforcement points are no operators.
    points.operator = points.known["pep-http"]
    assert "role_missing" in points.lictor("kill", "agent", AGENT, "--reason", "x", *points.door(), code=1)


@pytest.mark.parametrize(
    "wrong", ["no certificate", "a stranger's certificate", "nobody's name", "another authority", "another name"]
)
def test_without_a_connection_that_both_sides_believe_nothing_is_allowed(points: Points, wrong: str) -> None:
    points.start_points(1)
    shown: dict[str, Certificate | None] = dict(points.known)
    ca, name = points.servers_ca.ca, PDP_NAME
    match wrong:
        case "no certificate":
            shown = dict.fromkeys(PEPS)
        case "a stranger's certificate":
            shown = {pep: points.strangers_ca.client(f"forged-{pep}", f"{pep}.internal") for pep in PEPS}
        case "nobody's name":
            shown = {pep: points.peers_ca.client(f"other-{pep}", f"other-{pep}.internal") for pep in PEPS}
        case "another authority":
            ca = points.strangers_ca.ca
        case "another name":
            name = "elsewhere.internal"
    points.start_peps(shown, ca, name)
    for answer in points.both():
        points.refused(answer.told, "pdp_unavailable", decided=False)


def test_one_of_two_decision_points_dies_under_load_without_one_failed_request(points: Points, mock: Mock) -> None:
    points.start_points(2)
    points.start_peps(points.known)
    points.all_connected()
    load = Load(points, tokens(mock), "both")
    try:
        load.all_served("both")
        for round in range(DEATHS):
            for at in range(len(points.ports)):
                points.kill_point(at)
                dead = f"without {at}, round {round}"
                load.count(dead)
                load.all_served(dead)
                points.points[at] = points.start_point(at, points.ports[at], log=f"pdp-{at}-{round}")
                points.all_connected()
                again = f"with {at} again, round {round}"
                load.count(again)
                load.all_served(again)
    finally:
        calls = load.end()
    load.none_failed()
    assert calls >= CLIENTS * CALLS_EACH * (1 + 4 * DEATHS)
    for asked in points.said_of_points("questions_total", ',outcome="answered"'):
        assert len(asked) == len(points.ports) and min(asked.values()) > 0, asked
    # Without any, nothing is allowed.
    for at in range(len(points.ports)):
        points.kill_point(at)
    for answer in points.both():
        points.refused(answer.told, "pdp_unavailable", decided=False)
    for at, port in enumerate(points.ports):
        points.points[at] = points.start_point(at, port, log=f"pdp-{at}-last")
    until("they are asked again", lambda: all(answer.allowed for answer in points.both()) or None)
