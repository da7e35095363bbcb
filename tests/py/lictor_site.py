"""A folder with keys, a bundle built and signed by the `lictor` command, a login server's keys and
everything running in one process."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("LICTOR_BIN_DIR", REPOSITORY / "target" / "ci"))
ISSUER = "https://login.example.com"
PROVIDER_KEY = "provider-key-of-the-tests"
DEADLINE_S = 60
POLL_S = 0.02


def wait_for(process: subprocess.Popen, log: Path, pattern: str) -> re.Match:
    """Waits until `process` has said `pattern`; what it says is in `log`."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        said = log.read_text()
        if found := re.search(pattern, said):
            return found
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {said}")
        time.sleep(POLL_S)
    raise AssertionError(f"`{pattern}` was not said within {DEADLINE_S} s: {log.read_text()}")


class Site:
    """The folder, and what runs on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = Ed25519PrivateKey.generate()
        self.processes: list[subprocess.Popen] = []
        public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key()))
        jwks = {"keys": [public | {"kid": "login-1", "alg": "EdDSA", "use": "sig"}]}
        (root / "jwks.json").write_text(json.dumps(jwks))
        provider_key = root / "provider.key"
        provider_key.write_text(PROVIDER_KEY)
        provider_key.chmod(0o600)
        self.lictor("keys", "new", "bundle", "-o", "keys")
        bundles = [str(REPOSITORY / "bundles" / name) for name in ("expense-report", "pr-review")]
        self.lictor("build", *bundles, "-o", "bundle.tar.gz")
        self.lictor("sign", "bundle.tar.gz", "--key", "keys/bundle.key", "--scope", "e2e")

    def lictor(self, *args: str, code: int = 0) -> str:
        """Runs the command; its standard output."""
        command = [str(BIN / "lictor"), *args]
        ended = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=DEADLINE_S)
        assert ended.returncode == code, (args, ended)
        return ended.stdout

    def token(self, subject: str, agent: str, lifetime_s: int = 600, key: object = None) -> str:
        """A token by which `agent` acts for `subject`."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": "lictor", "sub": subject, "act": {"sub": agent},
            "iat": now, "exp": now + lifetime_s, "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, key or self.key, algorithm="EdDSA", headers={"kid": "login-1"})

    def api_key(self, *args: str) -> str:
        """A new API key; to be made before the start."""
        return self.lictor("keys", "issue", "--store", "api-keys.json", *args).strip()

    def spawn(self, name: str, command: list[str]) -> tuple[subprocess.Popen, Path]:
        """Starts a process that ends with the site."""
        log = self.root / f"{name}.log"
        with log.open("w") as out:
            environment = os.environ | {"NO_COLOR": "1"}
            process = subprocess.Popen(command, cwd=self.root, stdout=out, stderr=out, env=environment)
        self.processes.append(process)
        return process, log

    def fixture(self, name: str) -> int:
        """Starts a tool server; its port."""
        script = str(Path(__file__).with_name("fixture_server.py"))
        process, log = self.spawn(name, [sys.executable, script, name])
        return int(wait_for(process, log, r"listening on (\d+)")[1])

    def up(self, provider_port: int, tool_ports: dict[str, int]) -> None:
        """Starts `lictor up`; `mcp` and `llm` are the addresses for clients then."""
        servers = ", ".join(
            f'{{ id = "{name}", url = "http://127.0.0.1:{port}/mcp" }}' for name, port in tool_ports.items()
        )
        keys = 'api_keys = "api-keys.json"' if (self.root / "api-keys.json").exists() else ""
        (self.root / "lictor.toml").write_text(f"""
[audit]
dir = "audit"
[identity]
issuers = [{{ iss = "{ISSUER}", aud = "lictor", jwks = "jwks.json", algorithms = ["EdDSA"] }}]
{keys}
[pdp]
listen = "127.0.0.1:0"
bundle = "bundle.tar.gz"
trust_keys = ["keys/bundle.pub"]
scope = "e2e"
state_dir = "state"
[pep_http]
listen = "127.0.0.1:0"
upstreams = [{{ id = "openai", base_url = "http://127.0.0.1:{provider_port}/v1", key_file = "provider.key" }}]
[pep_mcp]
listen = "127.0.0.1:0"
servers = [{servers}]
""")
        process, log = self.spawn("lictor", [str(BIN / "lictor"), "up", "-c", "lictor.toml"])
        told = wait_for(process, log, r"MCP servers +(http://[0-9.:]+/mcp)/")
        self.mcp = told[1]
        self.llm = re.search(r"LLM providers +(http://\S+/v1)", log.read_text())[1]
        self.pdp = re.search(r"decision point +(http://\S+)", log.read_text())[1]

    def records(self, call_id: str) -> list[dict]:
        """What the logs say about a call."""
        shown = self.lictor("audit", "show", "audit", "--call", call_id, "--format", "json")
        return [json.loads(line) for line in shown.splitlines()]

    def down(self) -> None:
        """Ends `lictor up` in order."""
        process = self.processes.pop()
        process.terminate()
        assert process.wait(timeout=DEADLINE_S) == 0, (self.root / "lictor.log").read_text()

    def verify(self) -> None:
        """Verifies every log of every process that ran."""
        writers = ["state", "state/pep-http", "state/pep-mcp"]
        keys = [arg for writer in writers for arg in ("--key", f"{writer}/audit.pub")]
        self.lictor("audit", "verify", "audit", *keys)

    def remove(self) -> None:
        """Kills what is left and removes the folder."""
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
