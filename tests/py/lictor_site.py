"""A folder with keys, a bundle built and signed by the `lictor` command, everybody's credentials, and Lictor
running on it: in one process, or each part in a process of its own."""

import json
import os
import re
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from processes import BIN, DEADLINE_S, REPOSITORY, Server, environment

ISSUER = "https://login.example.com"
AUDIENCE = "lictor"
SCOPE = "e2e"
# The bundles that are served as one.
BUNDLES = ("expense-report", "pr-review")
PROVIDER_KEY = "provider-key-of-the-tests"
EXPENSE = ("alice@example.com", "expense-report-v1")
REVIEW = ("dave@example.com", "pr-review-v1")
# Each test takes keys of its own, because counters of `once` are kept per credential.
KEYS_PER_AGENT = 48


@dataclass(frozen=True)
class Denial:
    """What the logs must say in the end. `decided` is whether the decision point was asked."""

    call_id: str
    reason: str
    decided: bool


class Site:
    """The folder, and what runs on it; `mcp`, `llm` and `pdp` are its addresses once it runs."""

    def __init__(self, root: Path, bundles: Path = REPOSITORY / "bundles", keys: int = KEYS_PER_AGENT) -> None:
        """`bundles` is the folder of bundles that are served as one, `keys` how many API keys are issued to
        each agent."""
        self.root = root
        self.servers: list[Server] = []
        self.denials: list[Denial] = []
        self.mcp = self.llm = self.pdp = ""
        # The folders of logs, and who writes one, by the folder of its keys.
        self.audits = ["audit"]
        self.writers = {"state": "pdp", "state/pep-http": "pep-http", "state/pep-mcp": "pep-mcp"}
        # Further lines of a section of `lictor.toml`, and further members of a server in `[pep_mcp]`.
        self.lines: dict[str, str] = {}
        self.members: dict[str, str] = {}
        self.issuers = [f'{{ iss = "{ISSUER}", aud = "{AUDIENCE}", jwks = "jwks.json", algorithms = ["EdDSA"] }}']
        self.login = Ed25519PrivateKey.generate()
        public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self.login.public_key()))
        jwks = {"keys": [public | {"kid": "login-1", "alg": "EdDSA", "use": "sig"}]}
        (root / "jwks.json").write_text(json.dumps(jwks))
        self.private("provider.key", PROVIDER_KEY)
        self.lictor("keys", "new", "bundle", "-o", "keys")
        self.lictor("build", *(str(bundles / name) for name in BUNDLES), "-o", "bundle.tar.gz")
        self.lictor("sign", "bundle.tar.gz", "--key", "keys/bundle.key", "--scope", SCOPE)
        self.unused = {who: [self.issue(*who) for _ in range(keys)] for who in (EXPENSE, REVIEW)}
        # As good as ours in form, and in nobody's store.
        self.foreign_key = self.issue(*REVIEW, store="other-keys.json")
        for person in ("alice", "bob"):
            self.private(f"{person}.key", self.issue(f"{person}@example.com", role="approver"))

    def private(self, name: str, text: str) -> None:
        """Writes a file that only its owner may read."""
        path = self.root / name
        path.touch(mode=0o600)
        path.write_text(text)

    def lictor(self, *args: str, code: int = 0) -> str:
        """Runs the command, which must end with `code`; what it said, errors after the rest."""
        ended = subprocess.run(
            [str(BIN / "lictor"), *args], cwd=self.root, env=environment(),
            capture_output=True, text=True, timeout=DEADLINE_S,
        )
        assert ended.returncode == code, (args, ended)
        return ended.stdout + (ended.stderr if code else "")

    def issue(self, subject: str, agent: str = "", role: str = "", store: str = "api-keys.json") -> str:
        """A new API key, to be made before the start."""
        who = ["--subject", f"user:{subject}"]
        who += ["--agent", agent] if agent else []
        who += ["--role", role] if role else []
        return self.lictor("keys", "issue", "--store", store, *who).strip()

    def key(self, who: tuple[str, str]) -> str:
        """An API key that nobody has used, and so a session that has counted nothing."""
        assert self.unused[who], "no key is left: raise KEYS_PER_AGENT"
        return self.unused[who].pop()

    def token(
        self, subject: str, agent: str, lifetime_s: int = 600, key: Ed25519PrivateKey | None = None
    ) -> str:
        """A token of the login server, by which `agent` acts for `subject`."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "act": {"sub": agent},
            "iat": now, "exp": now + lifetime_s, "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, key or self.login, algorithm="EdDSA", headers={"kid": "login-1"})

    def start_together(self, provider_port: int, tool_ports: dict[str, int]) -> None:
        """Starts everything with `lictor up`."""
        config = self.common() + self.peps(provider_port, tool_ports)
        (self.root / "lictor.toml").write_text(config)
        server = self.run("lictor", "up", "-c", "lictor.toml")
        self.mcp = server.said(r"MCP servers +(https?://[0-9.:]+/mcp)/")
        self.llm = server.said(r"LLM providers +(https?://[0-9.:]+/v1)")
        self.pdp = server.said(r"decision point +(https?://[0-9.:]+)")

    def start_apart(self, provider_port: int, tool_ports: dict[str, int]) -> None:
        """Starts three processes. One enforcement point asks over TCP, the other over the Unix socket."""
        peers = f'[pdp.peers]\n{os.getuid()} = ["pep", "operator"]'
        (self.root / "pdp.toml").write_text(self.common(f'socket = "pdp.sock"\n{peers}'))
        address = self.run("lictor-pdp", "-c", "pdp.toml").said(r"listening address=([0-9.:]+)")
        self.pdp = f"unix:{self.root}/pdp.sock"
        tcp = f'pdp = "http://{address}"\npdp_token_file = "state/pep.token"\nstate_dir = "state/pep-mcp"'
        unix = f'pdp = "{self.pdp}"\nstate_dir = "state/pep-http"'
        (self.root / "peps.toml").write_text(self.common() + self.peps(provider_port, tool_ports, unix, tcp))
        http, mcp = (self.run(name, "-c", "peps.toml") for name in ("lictor-pep-http", "lictor-pep-mcp"))
        self.llm = f"{self.scheme('pep_http')}://{http.said(r'listening address=([0-9.:]+)')}/v1"
        self.mcp = f"{self.scheme('pep_mcp')}://{mcp.said(r'listens listen=([0-9.:]+)')}/mcp"

    def scheme(self, section: str) -> str:
        """`https` where the section has a certificate."""
        return "https" if "tls =" in self.lines.get(section, "") else "http"

    def run(self, name: str, *args: str, log: str = "") -> Server:
        """Starts a program of ours, which ends with the site; `log` is what the file is called to which it speaks."""
        server = Server(log or name, [str(BIN / name), *args], self.root)
        self.servers.append(server)
        return server

    def common(self, more: str = "", listen: str = "127.0.0.1:0", state: str = "state", audit: str = "audit") -> str:
        """The sections that the decision point reads, with further lines of `[pdp]`."""
        return f"""
[audit]
dir = "{audit}"
[identity]
api_keys = "api-keys.json"
issuers = [{", ".join(self.issuers)}]
{self.lines.get("identity", "")}
[pdp]
listen = "{listen}"
bundle = "bundle.tar.gz"
trust_keys = ["keys/bundle.pub"]
scope = "{SCOPE}"
state_dir = "{state}"
{self.lines.get("pdp", "")}
{more}
"""

    def peps(self, provider_port: int, tool_ports: dict[str, int], http: str = "", mcp: str = "") -> str:
        """The sections of both enforcement points, with further lines of each."""

        def server(name: str, port: int) -> str:
            return f'{{ id = "{name}", url = "http://127.0.0.1:{port}/mcp"{self.members.get(name, "")} }}'

        servers = ", ".join(server(name, port) for name, port in tool_ports.items())
        return f"""
[pep_http]
listen = "127.0.0.1:0"
upstreams = [{{ id = "openai", base_url = "http://127.0.0.1:{provider_port}/v1", key_file = "provider.key" }}]
{self.lines.get("pep_http", "")}
{http}
[pep_mcp]
listen = "127.0.0.1:0"
servers = [{servers}]
{self.lines.get("pep_mcp", "")}
{mcp}
"""

    def approve(self, approval: str, person: str, code: int = 0) -> str:
        """Approves with somebody's own credential; the command must end with `code`. What it said."""
        return self.lictor("approvals", "approve", approval, "--token", f"{person}.key", *self.door(), code=code)

    def door(self) -> list[str]:
        """How a command reaches the decision point as an operator."""
        token = [] if self.pdp.startswith("unix:") else ["--pdp-token-file", "state/operator.token"]
        return ["--pdp", self.pdp, *token]

    def refused(self, told: dict, reason: str, decided: bool = True) -> None:
        """Checks what a client was told, and notes that the logs must agree in the end."""
        assert reason in [one["id"] for one in told["reasons"]], told
        assert told["call_id"] and bool(told["decision_id"]) == decided and told["executed"] is False, told
        self.denials.append(Denial(told["call_id"], reason, decided))

    def records(self, *selection: str) -> list[dict]:
        """What the logs say, of one call with `--call ID`."""
        shown = (self.lictor("audit", "show", one, *selection, "--format", "json") for one in self.audits)
        return [json.loads(line) for lines in shown for line in lines.splitlines()]

    def stop(self) -> None:
        """Ends everything in order, the decision point last."""
        while self.servers:
            self.servers.pop().stop()

    def kill(self) -> None:
        """Ends whatever still runs."""
        while self.servers:
            self.servers.pop().kill()

    def verify(self) -> None:
        """Verifies the log of each writer, and that each holds the denials that it must."""
        keys = [arg for folder in self.writers for arg in ("--key", f"{folder}/audit.pub")]
        told = "".join(self.lictor("audit", "verify", one, *keys) for one in self.audits)
        for writer in set(self.writers.values()):
            closed = re.findall(rf"^{writer}-[0-9a-f]+: ok, .* closed, trusted key$", told, re.MULTILINE)
            assert len(closed) == list(self.writers.values()).count(writer), told
        named = set()
        for record in self.records() if self.denials else []:
            for reason in record["body"].get("reasons", []):
                name = reason["id"] if isinstance(reason, dict) else reason
                named.add((record["body"].get("call_id"), record["kind"], name))
        for denial in self.denials:
            for kind in ("decision", "enforcement") if denial.decided else ("enforcement",):
                assert (denial.call_id, kind, denial.reason) in named, (kind, denial)
