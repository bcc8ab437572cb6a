"""Runs of the train verb, and how their losses compare."""

import contextlib
import io
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.check.train_rank import BACKEND, MEMORY_MB
from weather_hpc.check.workload import register_networks
from weather_hpc.errors import FailedError
from weather_hpc.runs.environment import thread_variables
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.proc import kill_family
from weather_hpc.runs.record import Status
from weather_hpc.train.ranks import torchrun


@dataclass(frozen=True)
class Ran:
    """What a run has left."""

    paths: RunPaths
    record: dict[str, Any]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of one name."""
        lines = self.paths.events.read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == name]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The events of its epochs."""
        return self.events("epoch")

    @property
    def losses(self) -> list[float]:
        """Of each epoch."""
        return [event["loss"] for event in self.epochs]

    @property
    def exchange(self) -> str | None:
        """What its ranks exchanged gradients through."""
        told: str | None = self.record["provenance"]["environment"].get("exchange")
        return told


class Runs:
    """Makes runs in folders of their own under ``work``; what stalls is ended by ``limit_s``."""

    def __init__(self, work: Path, limit_s: Callable[[], float]) -> None:
        self.work, self.limit_s = work, limit_s
        self._numbers = itertools.count(1)
        register_networks()

    def here(self, *words: object, run_dir: Path | None = None, code: int = cli.EXIT_OK) -> Ran:
        """The verb in this process, where the GPU is ready. Raises FailedError on another code."""
        from weather_hpc.train.__main__ import main

        folder = self._folder() if run_dir is None else run_dir
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            argv = [*map(str, words), "--run-dir", str(folder)]
            found = cli.guarded("train", main, argv)
        return _ran(folder, found, code, printed.getvalue())

    def apart(
        self,
        *words: object,
        ranks: int = 0,
        code: int = cli.EXIT_OK,
        backend: str = "",
        memory_mb: int | None = None,
        variables: dict[str, str] | None = None,
    ) -> Ran:
        """The verb in a process of its own, or in ``ranks`` of them under torchrun.

        ``backend``: what all ranks share one GPU by, see :mod:`weather_hpc.check.train_rank`;
        ``memory_mb``: of the GPU's memory, how much a process may use.
        """
        folder = self._folder()
        launcher = torchrun(1, ranks) if ranks else []
        argv = [sys.executable, *launcher, "-m", "weather_hpc.check.train_rank"]
        environment = alone() | (variables or {}) | {BACKEND: backend}
        if memory_mb is not None:
            environment[MEMORY_MB] = str(memory_mb)
        argv += [*map(str, words), "--run-dir", str(folder)]
        done = finished(argv, environment, self.limit_s())
        return _ran(folder, done.returncode, code, done.stderr)

    def beside(self, port: int, *words: object) -> Ran | None:
        """The verb as one of the ranks that torchrun has started this process among. Collective.

        They meet at ``port`` of rank 0's host. Rank 0 gets what has come of the run.
        """
        folder = self._folder()
        environment = os.environ | {
            "PYTHONPATH": _python_path(), "MASTER_PORT": str(port),
            "TORCHELASTIC_USE_AGENT_STORE": "False",  # that store is the callers'
        }  # fmt: skip
        argv = [sys.executable, "-m", "weather_hpc.check.train_rank", *map(str, words)]
        done = finished([*argv, "--run-dir", str(folder)], environment, self.limit_s())
        if os.environ["RANK"] == "0":
            return _ran(folder, done.returncode, cli.EXIT_OK, done.stderr)
        return None

    def _folder(self) -> Path:
        return self.work / f"run{next(self._numbers)}"


LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells its ranks."""


def alone() -> dict[str, str]:
    """The environment of processes that meet on this host, whoever has started this one."""
    told = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHED and not name.startswith(("TORCHELASTIC_", "PET_"))
    }
    meet = {"GLOO_SOCKET_IFNAME": "lo", **thread_variables(1)}
    return told | meet | {"PYTHONPATH": _python_path()}


def _python_path() -> str:
    """With this package, wherever a process is started."""
    checkout = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [checkout, os.environ.get("PYTHONPATH")]))


def _ran(folder: Path, found: int, code: int, printed: str) -> Ran:
    paths = RunPaths(folder)
    record = json.loads(paths.record.read_bytes()) if paths.record.exists() else {}
    if found != code or not record:
        told = record.get("reason") or " ".join(printed.split()[-60:])
        raise FailedError(f"the train verb ended with {found}, not {code}: {told}")
    if record["status"] == Status.SKIPPED:
        raise FailedError(f"the train verb has skipped the run: {record['reason']}")
    return Ran(paths, record)


def furthest(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest relative difference of two curves of losses; NaN where one of them has any."""
    pairs = zip(found, expected, strict=True)
    differences = [abs(one - other) / abs(other) for one, other in pairs]
    # max() passes over a NaN that is not the first
    return math.nan if any(map(math.isnan, differences)) else max(differences)


def finished(
    argv: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> "subprocess.CompletedProcess[str]":
    """``argv`` run to its end, with what it has printed. Raises FailedError after ``limit_s``.

    All that it has started is then ended, too: torchrun's ranks have sessions of their own, and one
    that waits for another under NCCL would hold its GPU for minutes.
    """
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except BaseException as error:
            kill_family(process.pid)
            _, stderr = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            told = f", and said: {last_words(stderr)}" if stderr.strip() else ""
            raise FailedError(f"did not end within {limit_s:.0f} s{told}") from None
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def last_words(text: str, count: int = 40) -> str:
    """The end of what a process has printed, in one line."""
    return " ".join(text.split()[-count:])
