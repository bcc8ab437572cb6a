"""Runs of the train verb by checks: in this process, in processes of their own, as ranks."""

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
from weather_hpc.runs.proc import end_with_parent, kill_family
from weather_hpc.runs.record import Status
from weather_hpc.train.ranks import torchrun
from weather_hpc.train.rendezvous import RENDEZVOUS


@dataclass(frozen=True)
class FinishedRun:
    """The folder and the record of a run."""

    paths: RunPaths
    record: dict[str, Any]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events with this name."""
        lines = self.paths.events.read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == name]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The events of its epochs."""
        return self.events("epoch")

    @property
    def losses(self) -> list[float]:
        """The loss of each epoch."""
        return [event["loss"] for event in self.epochs]

    @property
    def exchange(self) -> str | None:
        """How its ranks exchanged gradients."""
        exchange: str | None = self.record["provenance"]["environment"].get("exchange")
        return exchange


class TrainRuns:
    """Runs the train verb, each run in a folder of its own under ``work``.

    Processes that take longer than ``limit_s`` are killed.
    """

    def __init__(self, work: Path, limit_s: Callable[[], float]) -> None:
        self.work, self.limit_s = work, limit_s
        self._numbers = itertools.count(1)
        register_networks()

    def here(
        self, *options: object, run_dir: Path | None = None, code: int = cli.EXIT_OK
    ) -> FinishedRun:
        """Run the verb in this process, where the GPU is initialised.

        Raises FailedError unless it ends with ``code``.
        """
        from weather_hpc.train.__main__ import main

        folder = self._folder() if run_dir is None else run_dir
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            argv = [*map(str, options), "--run-dir", str(folder)]
            ended = cli.guarded("train", main, argv)
        return _finished_run(folder, ended, code, printed.getvalue())

    def apart(
        self,
        *options: object,
        ranks: int = 0,
        code: int = cli.EXIT_OK,
        backend: str = "",
        memory_mb: int | None = None,
        variables: dict[str, str] | None = None,
    ) -> FinishedRun:
        """Run the verb in a process of its own, or in ``ranks`` of them under torchrun.

        ``backend``: how all ranks share one GPU, see :mod:`weather_hpc.check.train_rank`;
        ``memory_mb``: how much of the GPU's memory a process may use, MB.
        Raises FailedError unless it ends with ``code``.
        """
        folder = self._folder()
        launcher = torchrun(1, ranks) if ranks else []
        argv = [sys.executable, *launcher, "-m", "weather_hpc.check.train_rank"]
        environment = clean_environment() | (variables or {}) | {BACKEND: backend}
        if memory_mb is not None:
            environment[MEMORY_MB] = str(memory_mb)
        argv += [*map(str, options), "--run-dir", str(folder)]
        done = run_process(argv, environment, self.limit_s())
        return _finished_run(folder, done.returncode, code, done.stderr)

    def as_rank(self, name: str, *options: object) -> FinishedRun | None:
        """Run the verb as a rank, in a child of every process that torchrun started. Collective.

        The ranks meet at the store of these processes, under ``name``. Returns the run on rank 0,
        None elsewhere.
        """
        folder = self._folder()
        names = f"{os.environ.get('TORCHELASTIC_RUN_ID', 'none')}/{name}"
        environment = os.environ | {
            "PYTHONPATH": _python_path(), "TORCHELASTIC_RUN_ID": names,  # apart from the parents'
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # there is one
        }  # fmt: skip
        argv = [sys.executable, "-m", "weather_hpc.check.train_rank", *map(str, options)]
        done = run_process([*argv, "--run-dir", str(folder)], environment, self.limit_s())
        if os.environ["RANK"] == "0":
            return _finished_run(folder, done.returncode, cli.EXIT_OK, done.stderr)
        return None

    def _folder(self) -> Path:
        return self.work / f"run{next(self._numbers)}"


def _finished_run(folder: Path, ended: int, code: int, printed: str) -> FinishedRun:
    paths = RunPaths(folder)
    record = json.loads(paths.record.read_bytes()) if paths.record.exists() else {}
    if ended != code or not record:
        reason = record.get("reason") or tail(printed, 60)
        raise FailedError(f"the train verb ended with {ended}, expected {code}: {reason}")
    if record["status"] == Status.SKIPPED:
        raise FailedError(f"the train verb skipped the run: {record['reason']}")
    return FinishedRun(paths, record)


LAUNCHED = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", RENDEZVOUS
)  # fmt: skip
"""The variables that the launcher sets for its ranks."""


def clean_environment() -> dict[str, str]:
    """The environment of processes that meet on this host, without what torchrun set for us."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHED and not name.startswith(("TORCHELASTIC_", "PET_"))
    }
    own = {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": _python_path()}
    return inherited | thread_variables(1) | own


def _python_path() -> str:
    """With the folder of this package, whatever the working folder is."""
    checkout = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [checkout, os.environ.get("PYTHONPATH")]))


def run_process(
    argv: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> "subprocess.CompletedProcess[str]":
    """Run ``argv`` and return what it printed. Raises FailedError after ``limit_s`` seconds.

    Its descendants are killed then too: torchrun's ranks have sessions of their own, and one that
    waits for another in NCCL would keep its GPU for minutes.
    """
    with subprocess.Popen(
        [*end_with_parent("TERM"), *argv], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except BaseException as error:
            kill_family(process.pid)
            _, stderr = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            printed = f"; it printed: {tail(stderr)}" if stderr.strip() else ""
            raise FailedError(f"did not end within {limit_s:.0f} s{printed}") from None
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def tail(text: str, count: int = 40) -> str:
    """The last ``count`` words of what a process printed, in one line."""
    return " ".join(text.split()[-count:])


def largest_difference(losses: Sequence[float], expected: Sequence[float]) -> float:
    """The largest relative difference between two curves of losses; NaN if either has a NaN."""
    pairs = zip(losses, expected, strict=True)
    differences = [abs(one - other) / abs(other) for one, other in pairs]
    # max() ignores a NaN that is not the first value
    return math.nan if any(map(math.isnan, differences)) else max(differences)
