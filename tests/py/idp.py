"""Identity providers that others wrote, as processes of their own, and what callers make themselves: proofs of
possession (RFC 9449). The scripts that run the providers are in tests/js/idp."""

import base64
import hashlib
import json
import re
import ssl
import subprocess
import time
import urllib.parse
import uuid
from pathlib import Path

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from processes import Server

SCRIPTS = Path(__file__).resolve().parents[1] / "js" / "idp"
CLIENT_SECRET = "client-secret-of-the-tests-only"
BACK = "http://127.0.0.1:1/back"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TIMEOUT_S = 30


def node(name: str, script: str, folder: Path, *args: str) -> Server:
    """Starts one of the scripts."""
    return Server(name, ["node", str(SCRIPTS / script), *args], folder)


def verified(token: str, jwks: str, issuer: str, audience: str) -> tuple[dict, dict]:
    """Header and claims of a token, as `jose` verifies it against the keys at `jwks`."""
    command = ["node", str(SCRIPTS / "verify.mjs"), jwks, issuer, audience]
    ended = subprocess.run(command, input=token, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    return told["header"], told["claims"]


class Mock:
    """`oauth2-mock-server`: any claims, hostile ones too, and keys that come and go."""

    def __init__(self, folder: Path, port: int = 0, name: str = "mock", kid: str = "first") -> None:
        self.server = node(name, "mock.mjs", folder, str(port), kid)
        self.issuer = self.server.said(r"issuer (http\S+)")
        self.port = int(self.issuer.rsplit(":", 1)[1])

    def token(self, audience: str, claims: dict, header: dict | None = None, forge: str | None = None) -> str:
        """A token with these claims (`None` takes one away) and members of the header, or a forgery of it."""
        form = {"grant_type": "client_credentials", "aud": audience, "claims": json.dumps(claims)}
        form |= {"header": json.dumps(header)} if header else {}
        form |= {"forge": forge} if forge else {}
        answer = httpx2.post(f"{self.issuer}/token", data=form, timeout=TIMEOUT_S)
        return answer.raise_for_status().json()["access_token"]

    def control(self, **wanted: str | bool) -> int:
        """`add`, `sign` with or `retire` the key of that name, or `hang`; how often keys were asked for so far."""
        answer = httpx2.post(f"{self.issuer}/control", json=wanted, timeout=TIMEOUT_S)
        return answer.raise_for_status().json()["fetched"]

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.server.kill()


class Honest:
    """`oidc-provider`: a certified provider with clients of ours. `context` is how callers believe it, and which
    certificate they show."""

    def __init__(self, folder: Path, context: ssl.SSLContext | None = None, **config: object) -> None:
        self.context = context or True
        (folder / "provider.json").write_text(json.dumps(config))
        self.server = node("provider", "provider.mjs", folder, "provider.json")
        self.issuer = self.server.said(r"issuer (http\S+)")

    def token(self, client: str, resource: str, proof_by: "Holder | None" = None, **form: str) -> dict:
        """What the token endpoint answers: client credentials, unless `form` says otherwise."""
        url = f"{self.issuer}/token"
        headers = {"dpop": proof_by.proof("POST", url)} if proof_by else {}
        form = {"grant_type": "client_credentials", "resource": resource} | form
        auth = (client, CLIENT_SECRET)
        answer = httpx2.post(url, data=form, headers=headers, auth=auth, verify=self.context, timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def login(self, client: str, resource: str, person: str) -> dict:
        """What `client` gets when `person` has logged in and consented (RFC 6749 4.1 with PKCE)."""
        verifier = uuid.uuid4().hex + uuid.uuid4().hex
        asked = {
            "client_id": client, "response_type": "code", "redirect_uri": BACK, "scope": "openid tools",
            "resource": resource, "login_hint": person, "code_challenge_method": "S256",
            "code_challenge": digest(verifier),
        }
        url = f"{self.issuer}/auth?{urllib.parse.urlencode(asked)}"
        with httpx2.Client(verify=self.context, timeout=TIMEOUT_S) as browser:
            while not url.startswith(BACK):
                answer = browser.get(url)
                assert answer.status_code == 303, answer.text
                url = urllib.parse.urljoin(url, answer.headers["location"])
        [code] = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": verifier}
        return self.token(client, resource, **form)

    def exchanged(self) -> list[dict]:
        """What was exchanged so far (RFC 8693)."""
        return [json.loads(line) for line in re.findall(r"^exchanged (.+)$", self.server.log.read_text(), re.M)]

    def kill(self) -> None:
        """Ends it."""
        self.server.kill()


class Holder:
    """Whoever holds the key that a token is bound to, and proves it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}

    def proof(self, method: str, url: str, token: str = "", **claims: object) -> str:
        """A proof for one request, with the digest of `token` where there is one, and other claims as wanted."""
        said = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time())}
        said |= {"ath": digest(token)} if token else {}
        header = {"typ": "dpop+jwt", "jwk": self.jwk}
        return jwt.encode(said | claims, self.key, algorithm="ES256", headers=header)


def digest(text: str) -> str:
    """SHA-256 as the standards write it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
