"""Clients that call again and again while something changes behind their backs."""

import threading
import uuid

import httpx2
from calls import bearer, call_tool, chat
from identity_site import ALICE, COST_CENTER, GATEWAY, IdentitySite, claims
from idp import Mock
from processes import until

CLIENTS = 16
# How often each client must be served for the change to have been seen by all.
CALLS_EACH = 5
# What a client does between two calls, seconds.
THINKS_S = 0.01
OWN = {"employee_id": ALICE}
# So long that no busy machine refuses what is merely slow.
PATIENT = "decision_budget_ms = 20000"


def tokens(mock: Mock) -> list[str]:
    """A token for each client."""
    return [mock.token(GATEWAY, claims(jti=str(uuid.uuid4()))) for _ in range(CLIENTS)]


class Load:
    """Half of the clients call tools and half of them models, with the tokens that are shown at the time. Calls
    are counted under the name of what holds when they begin."""

    def __init__(self, site: IdentitySite, shown: list[str], name: str) -> None:
        self.site = site
        self.shown = shown, name
        self.ended = threading.Event()
        self.failures: list[str] = []
        # By name, how often each client was served.
        self.served: dict[str, list[int]] = {name: [0] * CLIENTS}
        self.threads = [threading.Thread(target=self.run, args=(at,)) for at in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def show(self, shown: list[str], name: str) -> None:
        """From now on these tokens are shown, and calls count under `name`."""
        self.served[name] = [0] * CLIENTS
        self.shown = shown, name

    def count(self, name: str) -> None:
        """From now on calls count under `name`."""
        self.show(self.shown[0], name)

    def run(self, at: int) -> None:
        """One client."""
        with httpx2.Client() as client:
            while not self.ended.is_set():
                shown, name = self.shown
                token = shown[at]
                try:
                    if at % 2:
                        answer = chat(self.site.llm, bearer(token), client)
                    else:
                        answer = call_tool(self.site.accounting(), bearer(token), COST_CENTER, OWN, client)
                    if not answer.allowed:
                        told = [f"{one['id']}: {one['message']}" for one in answer.told.get("reasons", [])]
                        self.failures.append(f"client {at}, {name}: {answer.status} {told or answer.body}")
                except Exception as error:  # noqa: BLE001 - whatever happened, the test must tell
                    self.failures.append(f"client {at}, {name}: {error!r}")
                self.served[name][at] += 1
                self.ended.wait(THINKS_S)

    def all_served(self, name: str) -> None:
        """Waits until every client was served under a name several times."""

        def look() -> bool | None:
            return True if min(self.served[name]) >= CALLS_EACH or self.failures else None

        until(f"every client is served: {name}", look)

    def end(self) -> int:
        """Ends it; how many calls there were."""
        self.ended.set()
        for thread in self.threads:
            thread.join()
        return sum(sum(served) for served in self.served.values())

    def none_failed(self) -> None:
        """Nobody was refused, and nobody's connection was lost."""
        calls = sum(sum(served) for served in self.served.values())
        assert not self.failures, (len(self.failures), calls, self.failures[:5])
