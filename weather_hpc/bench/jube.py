"""JUBE (Jülich's benchmarking environment) as a reader of logs. GPL: run as a program only."""

import csv
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

from weather_hpc import cli
from weather_hpc.bench.contestant import Outcome
from weather_hpc.bench.log_readers import ACCURACY, EPOCH, RANK, TIME
from weather_hpc.bench.once import once
from weather_hpc.errors import FailedError

PATTERNS = {
    "rank": ("int", RANK),
    "epoch": ("int", EPOCH),
    "accuracy": ("float", ACCURACY),
    "time_s": ("float", TIME),
}
COLUMNS = ("log", "rank_max", "epoch_max", "accuracy_last", "time_s_max")


def program(python: str) -> str | None:
    """JUBE's command: on PATH, or where pip put it beside the interpreter ``python``."""
    return shutil.which("jube") or shutil.which("jube", path=str(Path(python).parent))


def prepare(jube: str | None, folder: Path, logs: Path, paths: Sequence[str]) -> str | None:
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
            once(folder, lambda made: _run(jube, made, logs, paths))
    except FailedError as error:
        return str(error)
    return None


def command(jube: str | None, folder: Path) -> tuple[str, ...]:
    """Read the figures of all logs, then print the table."""
    return (jube or "jube", "result", "--analyse", str(folder))


def table(outcome: Outcome) -> Iterator[tuple[str, dict[str, float]]]:
    """What JUBE has printed: each log with the figures read off it."""
    lines = iter(outcome.stdout.read_text().splitlines())
    if ",".join(COLUMNS) not in lines:  # which leaves the iterator after it
        raise FailedError("JUBE printed no table")
    for row in csv.DictReader((line for line in lines if line), COLUMNS):
        yield (
            row["log"],
            {
                "ranks": 1 + int(row["rank_max"]),
                "epochs": 1 + int(row["epoch_max"]),
                "accuracy": float(row["accuracy_last"]),
                "time_s": float(row["time_s_max"]),
            },
        )


def _run(jube: str, folder: Path, logs: Path, paths: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="jube-") as name:
        configuration = Path(name) / "logs.xml"
        tree = _configuration(folder, logs, paths)
        tree.write(configuration, "utf-8", xml_declaration=True)
        done = subprocess.run(
            [jube, "run", "--hide-animation", str(configuration)],
            cwd=name, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    if done.returncode != 0 or not folder.is_dir():
        words = " ".join((done.stderr or done.stdout).split())[-200:]
        raise FailedError(f"jube run ended with exit code {done.returncode}: {words}")


def _configuration(folder: Path, logs: Path, paths: Sequence[str]) -> "ET.ElementTree[ET.Element]":
    def add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
        element = ET.SubElement(parent, tag, attributes)
        element.text = text
        return element

    root = ET.Element("jube")
    benchmark = add(root, "benchmark", name="logs", outpath=str(folder))
    add(add(benchmark, "parameterset", name="which"), "parameter", ",".join(paths), name="log")
    patterns = add(benchmark, "patternset", name="figures")
    for name, (kind, regex) in PATTERNS.items():
        # a lone dollar sign begins a parameter's name in JUBE
        add(patterns, "pattern", regex.replace("$", "$$"), name=name, type=kind)
    add(add(benchmark, "step", name="read"), "use", "which")
    analyser = add(benchmark, "analyser", name="analyse")
    add(analyser, "use", "figures")
    add(add(analyser, "analyse", step="read"), "file", f"{logs}/${{log}}")
    result = add(benchmark, "result")
    add(result, "use", "analyse")
    printed = add(result, "table", name="result", style="csv")
    for column in COLUMNS:
        add(printed, "column", column)
    return ET.ElementTree(root)
