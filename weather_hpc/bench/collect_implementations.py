"""Who reads the logs in ``bench collect``, and how what each has read is checked."""

import csv
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import isclose
from pathlib import Path

from weather_hpc import cli
from weather_hpc.bench import collect_peers
from weather_hpc.bench.collect_inputs import PATTERN, LogFigures, log_path, make_once
from weather_hpc.bench.collect_peers import ACCURACY, EPOCH, RANK, TIME
from weather_hpc.bench.measurement import Contestant, Outcome
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
    script, root = collect_peers.__file__, str(logs)

    def checked(read: Callable[[Outcome], Iterator[Read]]) -> Callable[[Outcome], None]:
        return partial(check_figures, expected, read)

    # contestants run in folders of their own; not resolved, or a venv's python would lose its venv
    peer = str(Path(shutil.which(peer_python) or peer_python).absolute())
    jube = jube_program(peer)
    without_jube = prepare_jube(jube, jube_folder, logs, list(expected))
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
            jube_command(jube, jube_folder),
            missing=without_jube,
            check=checked(jube_table),
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
            ("awk", collect_peers.AWK, *paths),
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
    from weather_hpc.bench.collect_inputs import log_figures

    return {log_path(index).as_posix(): log_figures(index, size) for index in range(count)}


JUBE_PATTERNS = {
    "rank": ("int", RANK),
    "epoch": ("int", EPOCH),
    "accuracy": ("float", ACCURACY),
    "time_s": ("float", TIME),
}


JUBE_COLUMNS = ("log", "rank_max", "epoch_max", "accuracy_last", "time_s_max")


def jube_program(python: str) -> str | None:
    """JUBE's command: on PATH, or where pip put it beside the interpreter ``python``."""
    return shutil.which("jube") or shutil.which("jube", path=str(Path(python).parent))


def prepare_jube(jube: str | None, folder: Path, logs: Path, paths: Sequence[str]) -> str | None:
    """Make JUBE's benchmark ``folder``, one work package per log; why that cannot be, else None.

    It is what a user's runs would have left, and so in no measurement; the time that takes grows
    with the square of the number of logs. ``paths`` are those of the logs under ``logs``, ``jube``
    is its command.
    """
    if jube is None:
        return (
            "there is no jube on PATH or beside --peer-python (it is not on PyPI; Debian: apt "
            "install jube)"
        )
    try:
        with cli.progress(f"setting up JUBE for {len(paths)} logs", total=1):
            make_once(folder, lambda made: _run_jube(jube, made, logs, paths))
    except FailedError as error:
        return str(error)
    return None


def jube_command(jube: str | None, folder: Path) -> tuple[str, ...]:
    """Read the figures of all logs, then print the table."""
    return (jube or "jube", "result", "--analyse", str(folder))


def jube_table(outcome: Outcome) -> Iterator[tuple[str, dict[str, float]]]:
    """What JUBE has printed: each log with the figures read off it."""
    lines = iter(outcome.stdout.read_text().splitlines())
    if ",".join(JUBE_COLUMNS) not in lines:  # which leaves the iterator after it
        raise FailedError("JUBE printed no table")
    for row in csv.DictReader((line for line in lines if line), JUBE_COLUMNS):
        yield (
            row["log"],
            {
                "ranks": 1 + int(row["rank_max"]),
                "epochs": 1 + int(row["epoch_max"]),
                "accuracy": float(row["accuracy_last"]),
                "time_s": float(row["time_s_max"]),
            },
        )


def _run_jube(jube: str, folder: Path, logs: Path, paths: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="jube-") as name:
        configuration = Path(name) / "logs.xml"
        tree = _jube_configuration(folder, logs, paths)
        tree.write(configuration, "utf-8", xml_declaration=True)
        done = subprocess.run(
            [jube, "run", "--hide-animation", str(configuration)],
            cwd=name, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    if done.returncode != 0 or not folder.is_dir():
        words = " ".join((done.stderr or done.stdout).split())[-200:]
        raise FailedError(f"jube run ended with exit code {done.returncode}: {words}")


def _jube_configuration(
    folder: Path, logs: Path, paths: Sequence[str]
) -> "ET.ElementTree[ET.Element]":
    def add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
        element = ET.SubElement(parent, tag, attributes)
        element.text = text
        return element

    root = ET.Element("jube")
    benchmark = add(root, "benchmark", name="logs", outpath=str(folder))
    add(add(benchmark, "parameterset", name="which"), "parameter", ",".join(paths), name="log")
    patterns = add(benchmark, "patternset", name="figures")
    for name, (kind, regex) in JUBE_PATTERNS.items():
        # a lone dollar sign begins a parameter's name in JUBE
        add(patterns, "pattern", regex.replace("$", "$$"), name=name, type=kind)
    add(add(benchmark, "step", name="read"), "use", "which")
    analyser = add(benchmark, "analyser", name="analyse")
    add(analyser, "use", "figures")
    add(add(analyser, "analyse", step="read"), "file", f"{logs}/${{log}}")
    result = add(benchmark, "result")
    add(result, "use", "analyse")
    printed = add(result, "table", name="result", style="csv")
    for column in JUBE_COLUMNS:
        add(printed, "column", column)
    return ET.ElementTree(root)
