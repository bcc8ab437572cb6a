"""The implementations of ``bench collect``: what reads the logs, and how each result is checked.

JUBE (the Jülich benchmarking environment) is under the GPL and only run as a program.
"""

import csv
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import isclose
from pathlib import Path

from weather_hpc import cli
from weather_hpc.bench import collect_peers
from weather_hpc.bench.collect_inputs import PATTERN, LogValues, log_path, log_values, make_once
from weather_hpc.bench.collect_peers import ACCURACY, EPOCH, RANK, TIME
from weather_hpc.bench.measurement import Implementation, Outcome
from weather_hpc.errors import FailedError
from weather_hpc.files import temporary_folder
from weather_hpc.runs.paths import StudyPaths

OURS = "weather_hpc collect"

Read = tuple[str, dict[str, str]]
"""Path of a log below the logs' folder; text of what was read from it, by LogValues' fields."""

OWN_COLUMNS = {
    "gpus": "workers", "batch_size": "batch_size_per_device", "ranks": "world_size_actual",
    "epochs": "epochs_done", "accuracy": "train_accuracy", "time_s": "time_s",
}  # fmt: skip
"""The column of each of LogValues' fields in collect's table of rows."""


def collect_command(*arguments: str) -> tuple[str, ...]:
    """The collect verb, which writes into its working folder."""
    return (sys.executable, "-m", "weather_hpc.collect", *arguments, "--out", ".", "--json")


def implementations(
    logs: Path, expected: Mapping[str, LogValues], jube_folder: Path, peer_python: str
) -> list[Implementation]:
    """All that read the logs under ``logs``; ``expected`` has the values of each log by its path.

    ``jube_folder`` holds the benchmark that JUBE needs beforehand; ``peer_python`` is an
    interpreter with ReFrame, and JUBE if that is not on PATH.
    """
    script, root = collect_peers.__file__, str(logs)

    def checked(read: Callable[[Outcome], Iterator[Read]]) -> Callable[[Outcome], None]:
        return partial(check_values, expected, read)

    # absolute, as each runs in its own folder; not resolved, or a venv's python would lose the venv
    peer = str(Path(shutil.which(peer_python) or peer_python).absolute())
    jube = jube_program(peer)
    without_jube = prepare_jube(jube, jube_folder, logs, list(expected))
    paths = [str(logs / path) for path in expected]
    return [
        Implementation(
            OURS,
            "this package's whole verb: rows, rejects, audit, tables, plots and report page",
            collect_command(root, "--pattern", PATTERN),
            check=checked(partial(_own_rows, logs)),
            warmup=True,
        ),
        Implementation(
            "JUBE",
            "jube result --analyse on a benchmark set up before: reads values, prints a table",
            jube_command(jube, jube_folder),
            missing=without_jube,
            check=checked(jube_table),
        ),
        Implementation(
            "regex",
            "plain Python as JUBE reads: each file whole, one re.findall per value",
            (sys.executable, script, "regex", root),
            check=checked(_printed),
        ),
        Implementation(
            "ReFrame",
            "ReFrame's sanity.extractall, two patterns",
            (peer, script, "reframe", root),
            missing=_without_reframe(peer),
            check=checked(_printed),
        ),
        Implementation(
            "awk",
            "one pass of awk over all logs, in the C locale",
            ("awk", collect_peers.AWK, *paths),
            environment={"LC_ALL": "C"},
            missing=None if shutil.which("awk") else "awk is not on PATH",
            check=checked(partial(_printed, under=logs)),
        ),
    ]


def check_values(
    expected: Mapping[str, LogValues],
    read: Callable[[Outcome], Iterable[Read]],
    outcome: Outcome,
) -> None:
    """Raise FailedError at the first log that was not read, or read with a wrong value."""
    logs = dict(read(outcome))
    missing = sorted(expected.keys() - logs.keys())
    if missing or len(logs) != len(expected):
        raise FailedError(
            f"{len(logs)} logs read, expected {len(expected)}; missing: {missing[:1]}"
        )
    for log, values in logs.items():
        for name, text in values.items():
            right = getattr(expected[log], name)
            value = type(right)(text)
            # JUBE prints 15 digits
            if not isclose(value, right, rel_tol=1e-13):
                raise FailedError(f"{log}: {name}: {value} read, expected {right}")


def _own_rows(logs: Path, outcome: Outcome) -> Iterator[Read]:
    with StudyPaths(outcome.folder).rows.open(newline="") as file:
        for row in csv.DictReader(file):
            log = Path(row["source"]).relative_to(logs.resolve()).as_posix()
            yield log, {name: row[column] for name, column in OWN_COLUMNS.items()}


def _printed(outcome: Outcome, under: Path | None = None) -> Iterator[Read]:
    with outcome.stdout.open(newline="") as file:
        for row in csv.DictReader(file):
            log = Path(row.pop("log"))
            yield (log.relative_to(under) if under else log).as_posix(), row


def _without_reframe(python: str) -> str | None:
    try:
        done = subprocess.run([python, "-c", "import reframe"], capture_output=True, check=False)
    except OSError as error:
        return f"--peer-python {python}: {error.strerror}"
    if done.returncode == 0:
        return None
    return f"{python} has no reframe-hpc (pip install it, best into another venv: --peer-python)"


def expected_values(count: int, size: int) -> dict[str, LogValues]:
    """The values printed in the logs made by :func:`make_logs`, by path."""
    return {log_path(index).as_posix(): log_values(index, size) for index in range(count)}


JUBE_PATTERNS = {
    "rank": ("int", RANK),
    "epoch": ("int", EPOCH),
    "accuracy": ("float", ACCURACY),
    "time_s": ("float", TIME),
}


JUBE_COLUMNS = ("log", "rank_max", "epoch_max", "accuracy_last", "time_s_max")


def jube_program(python: str) -> str | None:
    """The path of JUBE: on PATH, or where pip installs it next to the interpreter ``python``."""
    return shutil.which("jube") or shutil.which("jube", path=str(Path(python).parent))


def prepare_jube(jube: str | None, folder: Path, logs: Path, paths: Sequence[str]) -> str | None:
    """Make JUBE's benchmark ``folder``, one work package per log; why that failed, or None.

    A user's runs would have left it, so it is not measured; its time grows with the square of the
    number of logs. ``paths`` are those of the logs under ``logs``.
    """
    if jube is None:
        return (
            "no jube on PATH or next to --peer-python (it is not on PyPI; Debian: apt install jube)"
        )
    try:
        with cli.progress(f"setting up JUBE for {len(paths)} logs", total=1):
            make_once(folder, lambda made: _run_jube(jube, made, logs, paths))
    except FailedError as error:
        return str(error)
    return None


def jube_command(jube: str | None, folder: Path) -> tuple[str, ...]:
    """Read the values of all logs, then print the table."""
    return (jube or "jube", "result", "--analyse", str(folder))


def jube_table(outcome: Outcome) -> Iterator[Read]:
    """What JUBE has printed: each log with the values read from it."""
    lines = iter(outcome.stdout.read_text().splitlines())
    if ",".join(JUBE_COLUMNS) not in lines:  # leaves the iterator after that line
        raise FailedError("JUBE printed no table")
    for row in csv.DictReader((line for line in lines if line), JUBE_COLUMNS):
        yield (
            row["log"],
            {
                "ranks": str(1 + int(row["rank_max"])),
                "epochs": str(1 + int(row["epoch_max"])),
                "accuracy": row["accuracy_last"],
                "time_s": row["time_s_max"],
            },
        )


def _run_jube(jube: str, folder: Path, logs: Path, paths: Sequence[str]) -> None:
    with temporary_folder("bench") as scratch:
        configuration = scratch / "logs.xml"
        tree = _jube_configuration(folder, logs, paths)
        tree.write(configuration, "utf-8", xml_declaration=True)
        done = subprocess.run(
            [jube, "run", "--hide-animation", str(configuration)],
            cwd=scratch, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    if done.returncode != 0 or not folder.is_dir():
        printed = " ".join((done.stderr or done.stdout).split())[-200:]
        raise FailedError(f"jube run ended with exit code {done.returncode}: {printed}")


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
    patterns = add(benchmark, "patternset", name="values")
    for name, (kind, regex) in JUBE_PATTERNS.items():
        # in JUBE a single dollar sign starts the name of a parameter
        add(patterns, "pattern", regex.replace("$", "$$"), name=name, type=kind)
    add(add(benchmark, "step", name="read"), "use", "which")
    analyser = add(benchmark, "analyser", name="analyse")
    add(analyser, "use", "values")
    add(add(analyser, "analyse", step="read"), "file", f"{logs}/${{log}}")
    result = add(benchmark, "result")
    add(result, "use", "analyse")
    printed = add(result, "table", name="result", style="csv")
    for column in JUBE_COLUMNS:
        add(printed, "column", column)
    return ET.ElementTree(root)
