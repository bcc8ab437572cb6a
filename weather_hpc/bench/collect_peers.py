"""Peers of the log collector: ``collect_peers.py NAME FOLDER`` reads the logs and prints a CSV.

Run as a file and with the standard library alone, because the interpreter that has a peer's package
may not have this one.
"""

import csv
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = ("log", "ranks", "epochs", "accuracy", "time_s")
"""What is read from each log; ``log`` is its path below FOLDER."""

RANK = r"^Rank: (\d+)"
EPOCH = r"^Rank: .*Epoch: (\d+)"
ACCURACY = r"^Rank: .*Accuracy: ([\d.]+)"
TIME = r"^(\d+\.\d+)$"

Values = tuple[int, int, str, float]
"""Ranks, epochs, last accuracy as printed, total time in seconds."""


def regex(path: Path) -> Values:
    """The whole file in memory and one ``re.findall`` per value."""
    text = path.read_text()
    ranks, epochs, accuracies, times = (
        re.findall(pattern, text, re.MULTILINE) for pattern in (RANK, EPOCH, ACCURACY, TIME)
    )
    return (
        1 + max(map(int, ranks)),
        1 + max(map(int, epochs)),
        accuracies[-1],
        max(map(float, times)),
    )


def reframe(path: Path) -> Values:
    """ReFrame's sanity functions, which read the file line by line for each pattern."""
    sanity = importlib.import_module("reframe.utility.sanity")
    line = r"^Rank: (\d+)\s.*Epoch: (\d+)\s.*Accuracy: ([\d.]+)"
    printed: list[Any] = sanity.evaluate(
        sanity.extractall(line, str(path), (1, 2, 3), (int, int, str))
    )
    times = sanity.evaluate(sanity.extractall(TIME, str(path), 1, float))
    ranks, epochs, accuracies = zip(*printed, strict=True)
    return 1 + max(ranks), 1 + max(epochs), accuracies[-1], max(times)


READERS: dict[str, Callable[[Path], Values]] = {"regex": regex, "reframe": reframe}

AWK = r"""
function print_log() { if (log_path != "") print log_path, ranks + 1, epochs + 1, accuracy, time }
BEGIN { OFS = ","; print "log,ranks,epochs,accuracy,time_s" }
FNR == 1 { print_log(); log_path = FILENAME; ranks = epochs = 0; accuracy = time = "" }
$1 == "Rank:" {
    bars = $3 == "||"
    if ($2 > ranks) ranks = $2
    if ($(bars ? 5 : 4) > epochs) epochs = $(bars ? 5 : 4)
    accuracy = $(bars ? 11 : 8)
}
NF == 1 && /^[0-9]+\.[0-9]+$/ { if (time == "" || $1 > time) time = $1 }
END { print_log() }
"""
"""The same in one pass of awk: numbers are compared, and printed as in the log."""


def main(name: str, folder: str) -> None:
    """Print the values of every log under ``folder``."""
    root = Path(folder)
    out = csv.writer(sys.stdout)
    out.writerow(COLUMNS)
    for path in sorted(root.rglob("*.log")):
        out.writerow((path.relative_to(root), *READERS[name](path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
