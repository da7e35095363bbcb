"""Servers as child processes. Nothing sleeps for a fixed time: what is awaited is looked for again and again
until a deadline."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("LICTOR_BIN_DIR", REPOSITORY / "target" / "ci"))
DEADLINE_S = 60
POLL_S = 0.02
# Settings of whoever runs the tests must not reach the programs under test.
CLEARED = "LICTOR_"


def environment() -> dict[str, str]:
    """What every program is given: servers say where they listen, without colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    return kept | {"NO_COLOR": "1", "RUST_LOG": "info"}


def until(what: str, look: Callable[[], Found | None]) -> Found:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"{what}: not within {DEADLINE_S} s")


class Server:
    """One running server; what it says goes to a file beside what it works on."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=environment())

    def said(self, pattern: str) -> str:
        """Waits until the server has said `pattern`; its first group."""

        def look() -> re.Match | None:
            ended = self.process.poll()
            text = self.log.read_text()
            if (found := re.search(pattern, text)) is None and ended is not None:
                raise AssertionError(f"{self.name} ended with {ended}: {text}")
            return found

        try:
            return until(f"{self.name} says `{pattern}`", look)[1]
        except AssertionError:
            self.kill()
            raise

    def stop(self) -> None:
        """Asks it to end, which it must do in order."""
        self.process.terminate()
        ended = self.process.wait(timeout=DEADLINE_S)
        assert ended == 0, f"{self.name} ended with {ended}: {self.log.read_text()}"

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.wait()
