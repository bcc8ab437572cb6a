"""Calling Slurm's commands: a clean environment, retries while the controller restarts."""

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
"""How long a command waits for a controller that does not answer, s."""

CALL_S = 60.0
"""How long one call of a command may take, s."""

PING_S = 8.0
"""How long ``scontrol ping`` may take, s."""

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
    """One of Slurm's commands failed: its message on one line."""


class SlurmAwayError(SlurmError):
    """The controller (or for sacct the accounting) did not answer."""


@dataclass(frozen=True)
class Slurm:
    """Slurm's commands, called again while the controller does not answer."""

    patience_s: float = PATIENCE_S
    """How long to wait for an answer, s."""
    notify: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    sleep: Callable[[float], None] = time.sleep

    def __call__(self, *argv: str) -> str:
        """Run a command that may be repeated; its stdout.

        Raises :class:`SlurmError` where the command fails, :class:`FailedError` where nothing
        answers in time.
        """
        return self.patiently(lambda: call(*argv))

    def patiently(self, attempt: Callable[[], T]) -> T:
        """``attempt()``, repeated with growing pauses while it raises :class:`SlurmAwayError`."""
        deadline, pause, notified = time.monotonic() + self.patience_s, 1.0, False
        while True:
            try:
                return attempt()
            except SlurmAwayError as error:
                if time.monotonic() + pause > deadline:
                    raise FailedError(
                        f"Slurm did not answer for {self.patience_s:g} s ({error}); "
                        "run the same command again later: nothing is submitted twice"
                    ) from None
                if not notified:
                    self.notify(
                        f"Slurm does not answer; retrying for {self.patience_s:g} s ({error})"
                    )
                    notified = True
                self.sleep(pause)
                pause = min(pause * 2, 15.0)


def call(*argv: str, limit_s: float = CALL_S) -> str:
    """Run one of Slurm's commands, without retries; its stdout.

    Raises :class:`SlurmAwayError` where nothing answers, :class:`SlurmError` where it fails.
    """
    done = _run(argv, limit_s)
    if done.returncode == 0:
        return done.stdout
    text = message(done.stderr or done.stdout) or f"exit code {done.returncode}"
    raise error_of(f"{argv[0]}: {text}")


def error_of(text: str) -> SlurmError:
    """A failed command's message as the error that fits: is Slurm away or did it refuse?"""
    away = any(sign in text.lower() for sign in _AWAY)
    return (SlurmAwayError if away else SlurmError)(text)


def stderr_of(*argv: str) -> str:
    """Like :func:`call` for commands that answer on stderr, such as ``sbatch --test-only``."""
    done = _run(argv, CALL_S)
    text = message(done.stderr)
    if done.returncode:
        raise error_of(text)
    return text


def _run(argv: Sequence[str], limit_s: float) -> "subprocess.CompletedProcess[str]":
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
    """A command's output on one line, without the command's name before every part of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for prefix in ("sbatch: ", "error: ", "Batch job submission failed: ", "allocation failure: "):
        lines = [line.removeprefix(prefix) for line in lines]
    return one_line(Exception("; ".join(dict.fromkeys(lines))))


def environment() -> dict[str, str]:
    """The environment for Slurm's commands: without inherited options, with times in UTC.

    Jobs submitted from inside a job would otherwise inherit its size and binding. SLURM_CONF
    stays: it says which cluster.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF"
        or not name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SACCT_", "SQUEUE_", "SINFO_"))
    }
    return kept | {"TZ": "UTC"}


def unavailable() -> str | None:
    """Why no job can be submitted from here; None where Slurm answers. Takes a few seconds."""
    for name in ("sbatch", "squeue", "scontrol"):
        if shutil.which(name) is None:
            return f"{name} is not installed here"
    answer = ""
    for pause in (1.0, 2.0, 0.0):
        try:
            answer = one_line(Exception(call("scontrol", "ping", limit_s=PING_S)))
        except SlurmError as error:
            answer = str(error).split("; ")[-1]
        if " UP" in answer:
            return None
        if "DOWN" not in answer:
            break
        time.sleep(pause)
    return f"sbatch is installed, but no controller answers ({answer.split(' *')[0]})"
