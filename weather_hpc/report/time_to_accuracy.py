"""How long each configuration trained until it reached an accuracy on held-out images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from weather_hpc.analysis.statistics import median, median_interval
from weather_hpc.analysis.table import Table
from weather_hpc.report.learned import Learned
from weather_hpc.runs.epochs import Epoch, evaluated
from weather_hpc.text import brief

SHARE_OF_BEST = 0.9
"""One target is this share of the best median test accuracy."""
ROUND = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""The other is the highest of these that some configuration reached."""

COLUMNS = [
    "target_test_accuracy", "configuration", "runs", "reached", "time_s", "time_s_low",
    "time_s_high", "epoch", "wall_s", "note",
]  # fmt: skip


class _Target(NamedTuple):
    accuracy: float
    why: str


def time_to_accuracy(found: Sequence[Learned]) -> Table:
    """The seconds and epochs of each configuration until each target; no rows without any."""
    rows = [_row(target, one) for target in targets(found) for one in _in_order(found, target)]
    return Table(
        "time_to_accuracy",
        "Time to an accuracy",
        "reached: how many of the runs came to the target; time_s: their median measured seconds "
        "until the end of the first epoch after which the test accuracy was at least the target, "
        "where all runs reached it, with the range of the repeats (from six on their 95 % "
        "interval); epoch: its median number; wall_s: the same on the wall clock, evaluation and "
        "checkpoints included. An accuracy is seen only after epochs that were evaluated.",
        COLUMNS,
        rows,
    )


def targets(found: Sequence[Learned]) -> Iterator[_Target]:
    """The accuracies that it is worth asking for: none where no run has a second epoch."""
    if all(one.epochs == 1 for one in found):
        return
    best = max((_best(one) for one in found), default=0.0)
    if not best:
        return
    share = round(SHARE_OF_BEST * best, 3)
    yield _Target(share, f"{SHARE_OF_BEST:.0%} of the best")
    even = next((value for value in ROUND if value <= best), None)
    if even is not None and even != share:
        yield _Target(even, "round")


def _best(one: Learned) -> float:
    """The highest median test accuracy after any epoch."""
    medians = [
        median([each.test_accuracy or 0.0 for each in evaluated(one.at(number))]) or 0.0
        for number in range(1, one.epochs + 1)
    ]
    return max(medians, default=0.0)


def _in_order(found: Sequence[Learned], target: _Target) -> list[Learned]:
    """``found``, those that reach ``target`` first, the fastest first."""
    return sorted(found, key=lambda one: _row(target, one)["time_s"] or float("inf"))


def _row(target: _Target, one: Learned) -> dict[str, Any]:
    first = [_reached(run, target.accuracy) for run in one.runs]
    reached = [each for each in first if each is not None]
    whole = len(reached) == len(first)
    times = [each.measured_s for each in reached if each.measured_s is not None]
    times = times if whole and len(times) == len(first) else []
    low, high = median_interval(times)
    return {
        "target_test_accuracy": target.accuracy,
        "configuration": one.label,
        "runs": len(first),
        "reached": len(reached),
        "time_s": median(times),
        "time_s_low": low,
        "time_s_high": high,
        "epoch": median([float(each.epoch) for each in reached]) if whole else None,
        "wall_s": median([e.wall_s for e in reached if e.wall_s is not None]) if whole else None,
        "note": None if whole else "not reached" if not reached else "not reached by all runs",
    }


def _reached(run: Sequence[Epoch], accuracy: float) -> Epoch | None:
    """The first epoch of ``run`` after which it was at least so accurate."""
    return next((each for each in evaluated(run) if (each.test_accuracy or 0.0) >= accuracy), None)


def time_sentences(table: Table) -> Iterator[str]:
    """Who reaches each target first, and who does not reach it."""
    for target in dict.fromkeys(row["target_test_accuracy"] for row in table.rows):
        rows = [row for row in table.rows if row["target_test_accuracy"] == target]
        timed = [row for row in rows if row["time_s"] is not None]
        if not timed:
            continue
        first = timed[0]
        text = f"Test accuracy {target:g} is reached after {brief(first['time_s'])} s by "
        text += first["configuration"]
        if len(timed) > 1:
            last = timed[-1]
            text += f", after {brief(last['time_s'])} s by {last['configuration']}"
        missed = [_missed(row) for row in rows if row["reached"] < row["runs"]]
        if missed:
            text += f"; not reached by {'; '.join(missed)}"
        yield f"{text}."


def _missed(row: Mapping[str, Any]) -> str:
    """The configuration of ``row``, and how many of its runs missed the target, if not all."""
    missed = row["runs"] - row["reached"]
    some = f" ({missed} of {row['runs']} runs)" if row["reached"] else ""
    return f"{row['configuration']}{some}"
