"""Who reads the logs in ``bench collect``, and how what each has read is checked."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import isclose
from pathlib import Path

from weather_hpc.bench import jube, log_readers
from weather_hpc.bench.contestant import Contestant, Outcome
from weather_hpc.bench.study_logs import PATTERN, LogFigures, log_path
from weather_hpc.errors import FailedError
from weather_hpc.runs.paths import StudyPaths

OURS = "weather_hpc collect"

Read = tuple[str, dict[str, float]]
"""A log's path under the folder of all, and what was read off it under LogFigures' names."""


def collect_command(*words: str) -> tuple[str, ...]:
    """The collect verb, writing into the folder it runs in."""
    return (sys.executable, "-m", "weather_hpc.collect", *words, "--out", ".", "--json")


def contestants(
    logs: Path, expected: Mapping[str, LogFigures], jube_folder: Path, peer_python: str
) -> list[Contestant]:
    """All who read the logs under ``logs``, of which ``expected`` tells the figures by path.

    ``jube_folder`` is where JUBE keeps what it needs beforehand; ``peer_python`` is an interpreter
    that holds ReFrame, if any does, and perhaps JUBE.
    """
    script, root = log_readers.__file__, str(logs)

    def checked(read: Callable[[Outcome], Iterator[Read]]) -> Callable[[Outcome], None]:
        return partial(check_figures, expected, read)

    # contestants run in folders of their own; not resolved, or a venv's python would lose its venv
    peer = str(Path(shutil.which(peer_python) or peer_python).absolute())
    jube_program = jube.program(peer)
    without_jube = jube.prepare(jube_program, jube_folder, logs, list(expected))
    paths = [str(logs / path) for path in expected]
    return [
        Contestant(
            OURS,
            "this package's whole verb: rows, rejects, audit, tables, plots and report page",
            collect_command(root, "--pattern", PATTERN),
            check=checked(partial(_own_rows, logs)),
            warmup=True,
        ),
        Contestant(
            "JUBE",
            "jube result --analyse on a benchmark set up before: reads figures, prints a table",
            jube.command(jube_program, jube_folder),
            missing=without_jube,
            check=checked(jube.table),
        ),
        Contestant(
            "regex",
            "plain Python as JUBE reads: each file whole, one re.findall per figure",
            (sys.executable, script, "regex", root),
            check=checked(_printed),
        ),
        Contestant(
            "ReFrame",
            "ReFrame's sanity.extractall, two patterns",
            (peer, script, "reframe", root),
            missing=_without_reframe(peer),
            check=checked(_printed),
        ),
        Contestant(
            "awk",
            "one pass of awk over all logs, in the C locale",
            ("awk", log_readers.AWK, *paths),
            environment={"LC_ALL": "C"},
            missing=None if shutil.which("awk") else "there is no awk here",
            check=checked(partial(_printed, under=logs)),
        ),
    ]


def check_figures(
    expected: Mapping[str, LogFigures],
    read: Callable[[Outcome], Iterable[Read]],
    outcome: Outcome,
) -> None:
    """Raise FailedError at the first log that was not read, or read otherwise than it says."""
    found = dict(read(outcome))
    missing = sorted(expected.keys() - found.keys())
    if missing or len(found) != len(expected):
        raise FailedError(f"{len(found)} logs read, {len(expected)} wanted; missing: {missing[:1]}")
    for log, figures in found.items():
        for name, value in figures.items():
            wanted = getattr(expected[log], name)
            # JUBE prints 15 digits
            if not isclose(value, wanted, rel_tol=1e-13):
                raise FailedError(f"{log}: {name}: {value} read, {wanted} wanted")


def _own_rows(logs: Path, outcome: Outcome) -> Iterator[Read]:
    with StudyPaths(outcome.folder).rows.open(newline="") as file:
        for row in csv.DictReader(file):
            log = Path(row["source"]).relative_to(logs.resolve()).as_posix()
            yield (
                log,
                {
                    "gpus": int(row["workers"]),
                    "batch_size": int(row["batch_size_per_device"]),
                    "ranks": int(row["world_size_actual"]),
                    "epochs": int(row["epochs_done"]),
                    "accuracy": float(row["train_accuracy"]),
                    "time_s": float(row["time_s"]),
                },
            )


def _printed(outcome: Outcome, under: Path | None = None) -> Iterator[Read]:
    with outcome.stdout.open(newline="") as file:
        for row in csv.DictReader(file):
            log = Path(row["log"])
            yield (
                (log.relative_to(under) if under else log).as_posix(),
                {
                    "ranks": int(row["ranks"]),
                    "epochs": int(row["epochs"]),
                    "accuracy": float(row["accuracy"]),
                    "time_s": float(row["time_s"]),
                },
            )


def _without_reframe(python: str) -> str | None:
    try:
        done = subprocess.run([python, "-c", "import reframe"], capture_output=True, check=False)
    except OSError as error:
        return f"--peer-python {python}: {error.strerror}"
    if done.returncode == 0:
        return None
    return f"{python} has no reframe-hpc (pip install reframe-hpc, best elsewhere: --peer-python)"


def expected_figures(count: int, size: int) -> dict[str, LogFigures]:
    """What the logs made by :func:`make_logs` say, by path."""
    from weather_hpc.bench.study_logs import log_figures

    return {log_path(index).as_posix(): log_figures(index, size) for index in range(count)}
