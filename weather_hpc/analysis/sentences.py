"""The statistics in short sentences, every number taken from the tables."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.choices import figure
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.laws import Law
from weather_hpc.analysis.statistics import Outlier
from weather_hpc.analysis.steps import Verdict
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Row
from weather_hpc.text import counted

MOST_NAMED = 3
"""Of one kind of finding, so many are told one by one; the tables hold them all."""

FARTHEST = 2
"""A peak beyond so many times the most workers measured is a guess, left to the table."""

STAGES = {"preprocess": "preprocessing", "training": "training"}
"""The tables' names in sentences."""

_TOLD = {
    Verdict.FASTER: "faster", Verdict.SLOWER: "slower",
    Verdict.NO_DIFFERENCE: "with no difference shown",
    Verdict.TOO_FEW: "with too few repeats to tell",
}  # fmt: skip


def outliers(comparison: Comparison) -> list[tuple[Row, Outlier]]:
    """Every measured run whose time is far from that of its repeats, in the tables' order."""
    return [found for stage in comparison.stages for g in stage.groups for found in g.outliers]


def sentences(comparison: Comparison, laws: Table, steps: Table) -> list[str]:
    """What the runs show of more workers and of scaling laws, and what of them is odd or missing.

    A few lines in all.
    """
    return [
        *_steps(steps),
        *_peaks(laws),
        *_outlying(comparison),
        *_rejected(comparison.rows),
    ]


def _steps(steps: Table) -> Iterator[str]:
    """For each table: how many steps to more workers helped, and which did not."""
    by_table: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in steps.rows:
        by_table[row["table"]].append(row)
    for name, rows in by_table.items():
        counts = Counter(row["verdict"] for row in rows)
        told = ", ".join(f"{counts[v]} {_TOLD[v]}" for v in Verdict if counts[v])
        yield f"Adding workers, {counted(len(rows), 'step')} in {STAGES[name]}: {told}."
        for row in [r for r in rows if r["verdict"] == Verdict.SLOWER][:MOST_NAMED]:
            yield (
                f"More was slower: {row['series']}, {row['workers']} against {row['against']}, "
                f"{row['ratio']:.2f} times as fast (p = {row['p_holm']:.2g})."
            )


def _peaks(laws: Table) -> Iterator[str]:
    """Where more workers stop helping, nearest first; not what lies far beyond what was run."""
    found = [
        row
        for row in laws.rows
        if row["law"] == Law.USL
        and row["peak_workers"] is not None
        and row["peak_workers"] <= FARTHEST * row["workers_max"]
    ]
    for row in sorted(found, key=lambda row: float(row["peak_workers"]))[:MOST_NAMED]:
        peak, low, high = (row[f"peak_workers{end}"] for end in ("", "_low", "_high"))
        unit = "worker" if row["table"] == "preprocess" else "rank"
        if peak == 1:
            yield f"By the USL, {row['series']} is never faster than on one {unit}."
            continue
        interval = "no interval"
        if low is not None:
            end = f"to {figure(high)}" if high else "up"
            interval = f"95 % interval from {figure(low)} {end}"
        beyond = ", more than were measured" if peak > row["workers_max"] else ""
        yield (
            f"By the USL, {row['series']} is fastest with about {counted(round(peak), unit)} "
            f"({interval}){beyond}: {row['speedup_limit']:.1f} times as fast as with one."
        )


def _outlying(comparison: Comparison) -> Iterator[str]:
    found = outliers(comparison)
    if not found:
        return
    worst = sorted(found, key=lambda pair: -pair[1].score)[:MOST_NAMED]
    told = ", ".join(f"{row.run_id} ({o.value:.3g} s, median {o.median:.3g} s)" for row, o in worst)
    first = "" if len(found) <= MOST_NAMED else "the farthest: "
    yield f"{counted(len(found), 'run')} far from the median of the repeats, kept: {first}{told}."


def _rejected(rows: Sequence[Row]) -> Iterator[str]:
    rejected = [row for row in rows if row.is_rejected]
    if not rejected:
        return
    (reason, most), *others = Counter(
        row.reason or "no reason told" for row in rejected
    ).most_common()
    why = (
        f"{most} of them, and {len(rejected) - most} for other reasons" if others else "all of them"
    )
    yield f"{len(rejected)} of {counted(len(rows), 'run')} are in no table: {reason} ({why})."
