"""Calling Slurm's own commands: a clean environment, patience with a controller that restarts."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from weather_hpc.errors import FailedError
from weather_hpc.text import one_line

T = TypeVar("T")

PATIENCE_S = 300.0
"""How long a controller may be away before a command gives up on it."""

CALL_S = 60.0
"""How long one call of a command may take."""

PING_S = 8.0
"""How long a controller may take to say that it is there."""

_AWAY = (
    "unable to contact slurm controller",
    "connect failure",
    "connection refused",
    "socket timed out",
    "zero bytes were transmitted",
    "slurm backup controller in standby mode",
    "resource temporarily unavailable",
    "no answer in",
)


class SlurmError(Exception):
    """One of Slurm's commands refused: its message on one line."""


class SlurmAwayError(SlurmError):
    """The controller (or for sacct the accounting) did not answer."""


@dataclass(frozen=True)
class Slurm:
    """Slurm's commands. ``patience_s``: how long to wait for a controller that is away."""

    patience_s: float = PATIENCE_S
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    sleep: Callable[[float], None] = time.sleep

    def __call__(self, *argv: str) -> str:
        """Run a command that changes nothing; its stdout. Waits for a controller that is away.

        Raises :class:`SlurmError` where the command refuses, :class:`FailedError` where nothing
        answers in time.
        """
        return self.patiently(lambda: once(*argv))

    def patiently(self, attempt: Callable[[], T]) -> T:
        """``attempt()``, made again with growing pauses while it raises :class:`SlurmAwayError`."""
        deadline, pause, told = time.monotonic() + self.patience_s, 1.0, False
        while True:
            try:
                return attempt()
            except SlurmAwayError as error:
                if time.monotonic() + pause > deadline:
                    raise FailedError(
                        f"Slurm did not answer for {self.patience_s:g} s ({error}); "
                        "run the same command again later: nothing is submitted twice"
                    ) from None
                if not told:
                    self.say(f"Slurm does not answer; trying for {self.patience_s:g} s ({error})")
                    told = True
                self.sleep(pause)
                pause = min(pause * 2, 15.0)


def once(*argv: str, limit_s: float = CALL_S) -> str:
    """Run one of Slurm's commands once; its stdout.

    Raises :class:`SlurmAwayError` where nothing answers, :class:`SlurmError` where it refuses.
    """
    done = _call(argv, limit_s)
    if done.returncode == 0:
        return done.stdout
    said = message(done.stderr or done.stdout) or f"exit code {done.returncode}"
    raise refusal(argv[0], said)


def refusal(command: str, said: str) -> SlurmError:
    """What ``command`` said when it refused, as the error that tells whether Slurm is away."""
    text = message(said)
    away = any(sign in text.lower() for sign in _AWAY)
    return (SlurmAwayError if away else SlurmError)(f"{command}: {text}")


def stderr_of(*argv: str) -> str:
    """Like :func:`once` for commands that answer on stderr, such as ``sbatch --test-only``."""
    done = _call(argv, CALL_S)
    said = message(done.stderr)
    if done.returncode and any(sign in said.lower() for sign in _AWAY):
        raise SlurmAwayError(said)
    if done.returncode:
        raise SlurmError(said)
    return said


def _call(argv: Sequence[str], limit_s: float) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            argv, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=limit_s, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise SlurmError(f"{argv[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"no answer in {limit_s:g} s")


def message(text: str) -> str:
    """What a command said, on one line and without its own name before every part of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for prefix in ("sbatch: ", "error: ", "Batch job submission failed: ", "allocation failure: "):
        lines = [line.removeprefix(prefix) for line in lines]
    return one_line(Exception("; ".join(dict.fromkeys(lines))))


def environment() -> dict[str, str]:
    """The environment for Slurm's commands: no options inherited, times in UTC.

    A sweep that is itself started inside a job would otherwise hand that job's size and binding
    on to its own. SLURM_CONF stays: it says which cluster.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF"
        or not name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SACCT_", "SQUEUE_", "SINFO_"))
    }
    return kept | {"TZ": "UTC"}


def unavailable() -> str | None:
    """Why no job can be submitted from here; None where Slurm answers. Asks for a few seconds."""
    for name in ("sbatch", "squeue", "scontrol"):
        if shutil.which(name) is None:
            return f"{name} is not installed here"
    said = ""
    for pause in (1.0, 2.0, 0.0):
        try:
            said = one_line(Exception(once("scontrol", "ping", limit_s=PING_S)))
        except SlurmError as error:
            said = str(error).split("; ")[-1]
        if " UP" in said:
            return None
        if "DOWN" not in said:
            break
        time.sleep(pause)
    return f"sbatch is here, but no controller answers ({said.split(' *')[0]})"
