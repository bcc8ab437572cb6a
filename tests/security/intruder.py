"""Another user of the node, who attacks every port that a family of processes listens on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import pytest

from tests.security.listeners import Listener, family, listeners

NOBODY = 65534
"""uid and gid of the intruder."""

PROGRAM = Path(__file__).with_name("attacks.py")


def need_root() -> None:
    """Of two users, root alone can be both: others skip the test, and in CI it fails."""
    if os.getuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("tests as another user need root")
        pytest.skip("tests as another user need root")


class Intruder:
    """A process of the user nobody. What its attacks make others run, writes a line to a file that
    only this process's user can write.

    A context manager. Connections that it leaves open stay open until its end.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is ours alone, as pytest's ``tmp_path`` is."""
        need_root()
        self._witness = folder / "ran"
        self._log = (folder / "intruder.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(PROGRAM), str(self._witness), str(NOBODY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd="/",
        )

    def __enter__(self) -> "Intruder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def attack(self, targets: Iterable[Listener]) -> list[str]:
        """Try everything on ``targets``: what they gave an answer to, one line each.

        An empty list is what a protected server gives. Takes about a second, whatever their number.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([asdict(target) for target in targets]), file=self._process.stdin)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the intruder has failed: {Path(self._log.name).read_text()}"
        got_in: list[str] = json.loads(answer)
        return got_in

    def attack_family(self, pid: int, known: Iterable[Listener] = ()) -> dict[Listener, list[str]]:
        """Attack what ``pid`` and its descendants listen on now, but for what is ``known``.

        Every target, with what it gave an answer to.
        """
        pids = [each for each in family(pid) if each != self._process.pid]
        targets = listeners(pids) - set(known)
        lines = self.attack(targets) if targets else []
        return {
            target: [line for line in lines if line.startswith(f"{place(target)}: ")]
            for target in targets
        }

    def attack_while(self, process: "subprocess.Popen[str]") -> dict[Listener, list[str]]:
        """Attack whatever ``process`` and its descendants listen on until it ends, each once."""
        found: dict[Listener, list[str]] = {}
        while process.poll() is None:
            found |= self.attack_family(process.pid, found)
        return found

    def ran(self) -> list[str]:
        """What the attacks made others run: a line of attack, uid and pid for each."""
        return self._witness.read_text().splitlines() if self._witness.exists() else []


def place(listener: Listener) -> str:
    """How lines of answers name a listener."""
    return f"{listener.address} {listener.port}" if listener.port else listener.address
