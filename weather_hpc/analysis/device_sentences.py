"""The comparisons across devices in sentences; the table has them all."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from weather_hpc.analysis.devices import Kind
from weather_hpc.analysis.statistics import interval_name
from weather_hpc.analysis.steps import Verdict
from weather_hpc.analysis.table import Table
from weather_hpc.text import counted

MOST_NAMED = 3
"""So many comparisons of each kind get a sentence; the table has them all."""

_VERDICTS = {
    Verdict.NO_DIFFERENCE: ", without a significant difference",
    Verdict.TOO_FEW: ", with too few repeats to test it",
}


def device_sentences(devices: Table) -> list[str]:
    """The rows of :func:`devices_table` in sentences: one per strategy, and the best of each.

    Of a strategy it is the shortest time, against the fastest thread count. Rows with audit errors
    have none.
    """
    sound = [r for r in devices.rows if r["ratio"] is not None and not r["audit_errors"]]
    strategies: dict[tuple[object, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in sound:
        if row["kind"] == Kind.SAME:
            strategies[row["study"], row["strategy"], row["device"], row["against_device"]].append(
                row
            )
    same = [_same_sentence(rows) for rows in strategies.values()]
    best = [_best_sentence(row) for row in sound if row["kind"] == Kind.BEST]
    return [*same[:MOST_NAMED], *best[:MOST_NAMED]]


def _same_sentence(rows: Sequence[dict[str, Any]]) -> str:
    row = min(rows, key=lambda r: (r["time_s"] or 0.0, r["against_time_s"] or 0.0))
    words = [f"{row['strategy']} on {_named(row['device'], row['device_name'])}"]
    if row["world_size"] != 1:
        words.append(counted(row["world_size"], "rank"))
    batch = row["batch_size_per_device"] or row["batch_size_global"]
    if batch is not None:
        words.append(f"batch {batch}")
    against = _named(row["against_device"], row["against_name"])
    if row["against_threads"] is not None:
        against += f", {counted(row['against_threads'], 'thread')}"
        against += " for each rank" if row["world_size"] != 1 else ""
    more = ""
    if len(rows) > 1:
        ratios = sorted(r["ratio"] for r in rows)
        more = f". Its {len(rows)} comparisons range from {ratios[0]:.2f} to {ratios[-1]:.2f}"
    if row["published_ratio"] is not None:
        more += f". The reproduced study has {row['published_ratio']:.2f}"
    comma = "," if len(words) > 1 else ""
    return f"{', '.join(words)}{comma} is {_times(row)} on {against}{_interval(row)}{more}."


def _best_sentence(row: dict[str, Any]) -> str:
    device, against = (
        _named(row[name], row[model])
        for name, model in (("device", "device_name"), ("against_device", "against_name"))
    )
    return (
        f"The best on {device}, {row['configuration']}, is {_times(row)} the best on {against}, "
        f"{row['against']}{_interval(row)}."
    )


def _named(device: str, model: str | None) -> str:
    return f"{device} ({model})" if model else device


def _times(row: dict[str, Any]) -> str:
    return f"{row['ratio']:.2f} times as fast as"


def _interval(row: dict[str, Any]) -> str:
    low, high, verdict = row["ratio_low"], row["ratio_high"], _VERDICTS.get(row["verdict"], "")
    if low is None:
        return verdict
    name = interval_name(min(row["runs"], row["against_runs"]))
    return f" ({name} {low:.2f} to {high:.2f}){verdict}"
