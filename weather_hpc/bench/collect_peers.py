"""Peers of the log collector, each a whole program: ``log_readers.py NAME FOLDER`` prints a CSV.

Run as a file and with the standard library alone, so that an interpreter which holds a peer's
package, and not this one, can run it.
"""

import csv
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = ("log", "ranks", "epochs", "accuracy", "time_s")
"""What is read off each log; ``log`` is its path under the folder of all."""

RANK = r"^Rank: (\d+)"
EPOCH = r"^Rank: .*Epoch: (\d+)"
ACCURACY = r"^Rank: .*Accuracy: ([\d.]+)"
TIME = r"^(\d+\.\d+)$"

Figures = tuple[int, int, str, float]


def regex(path: Path) -> Figures:
    """The whole file in memory and one ``re.findall`` per figure."""
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


def reframe(path: Path) -> Figures:
    """ReFrame's sanity functions, which go through the file line by line for each pattern."""
    sanity = importlib.import_module("reframe.utility.sanity")
    line = r"^Rank: (\d+)\s.*Epoch: (\d+)\s.*Accuracy: ([\d.]+)"
    printed: list[Any] = sanity.evaluate(
        sanity.extractall(line, str(path), (1, 2, 3), (int, int, str))
    )
    times = sanity.evaluate(sanity.extractall(TIME, str(path), 1, float))
    ranks, epochs, accuracies = zip(*printed, strict=True)
    return 1 + max(ranks), 1 + max(epochs), accuracies[-1], max(times)


READERS: dict[str, Callable[[Path], Figures]] = {"regex": regex, "reframe": reframe}

AWK = r"""
function told() { if (log_path != "") print log_path, ranks + 1, epochs + 1, accuracy, time }
BEGIN { OFS = ","; print "log,ranks,epochs,accuracy,time_s" }
FNR == 1 { told(); log_path = FILENAME; ranks = epochs = 0; accuracy = time = "" }
$1 == "Rank:" {
    bars = $3 == "||"
    if ($2 > ranks) ranks = $2
    if ($(bars ? 5 : 4) > epochs) epochs = $(bars ? 5 : 4)
    accuracy = $(bars ? 11 : 8)
}
NF == 1 && /^[0-9]+\.[0-9]+$/ { if (time == "" || $1 > time) time = $1 }
END { told() }
"""
"""The same as one pass of awk. Comparisons are of numbers, what is printed is the log's text."""


def main(name: str, folder: str) -> None:
    """Print the figures of every log under ``folder``."""
    root = Path(folder)
    out = csv.writer(sys.stdout)
    out.writerow(COLUMNS)
    for path in sorted(root.rglob("*.log")):
        out.writerow((path.relative_to(root), *READERS[name](path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
