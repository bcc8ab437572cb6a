"""What more workers bring, in a sentence for each backend or strategy."""

from collections import defaultdict
from typing import Any

from weather_hpc.analysis.statistics import interval_name
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.curve import batch_of, panel_of
from weather_hpc.study.spec import Scaling
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted

MOST_TOLD = 4
"""So many methods get a sentence; the plots have them all."""


def scaling_sentences(table: ScalingTable) -> list[str]:
    """For each method of ``table`` its best speedup, and what its most workers do, where less.

    The method that loses most first.
    """
    methods: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table.measured:
        if row["speedup"] and table.workers(row) > 1 and not row["sharing"]:
            methods[panel_of(table, row)].append(row)
    told = [_told(table, method, rows) for method, rows in methods.items()]
    return [text for _, text in sorted(told, key=lambda one: one[0])][:MOST_TOLD]


def _told(table: ScalingTable, method: str, rows: list[dict[str, Any]]) -> tuple[float, str]:
    """The efficiency at the most workers, for the order, and the sentence."""
    best = max(rows, key=lambda row: float(row["speedup"]))
    same = [row for row in rows if batch_of(row) == batch_of(best)]
    most = max(same, key=lambda row: (table.workers(row), float(row["speedup"])))
    unit = BY_TABLE[table.name].worker
    size, speedup = counted(table.workers(best), unit), best["speedup"]
    if speedup < 1:
        text = f"{method} is never faster than its baseline: at best {1 / speedup:.2f} times as "
        text += f"long, with {size}"
    else:
        text = f"{method} is at best {speedup:.2f} times as fast as its baseline"
        text += f"{_interval(best)}, with {size} (efficiency {100 * best['efficiency']:.0f} %)"
    ratio = most["time_s"] / best["time_s"]
    more = table.workers(most) > table.workers(best) and most["scaling"] != Scaling.WEAK
    if more and ratio > 1:
        text += f"; {counted(table.workers(most), unit)} take {ratio:.2f} times as long as that"
    return float(most["efficiency"]), f"{text}."


def _interval(row: dict[str, Any]) -> str:
    low, high = row["speedup_low"], row["speedup_high"]
    if low is None or high is None:
        return ""
    return f" ({interval_name(row['runs'])} {low:.2f} to {high:.2f})"
