"""The statistics in short sentences; every number is in the tables."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.laws import Law
from weather_hpc.analysis.statistics import Outlier
from weather_hpc.analysis.steps import Verdict
from weather_hpc.analysis.table import Table
from weather_hpc.runs.ending import without_log
from weather_hpc.runs.record import EDA_PARTS, Status
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import alike, brief, counted

MOST_NAMED = 3
"""Of each kind of finding, so many get a sentence; the tables have them all."""

MOST_REASONS = 20
"""So many reasons why runs are in no table get a sentence; rejects.csv has them all."""

FARTHEST = 2
"""A peak beyond so many times the most workers measured is a guess: only the table has it."""

_VERDICTS = {
    Verdict.FASTER: "faster", Verdict.SLOWER: "slower",
    Verdict.NO_DIFFERENCE: "without a significant difference",
    Verdict.TOO_FEW: "inconclusive (too few repeats)",
}  # fmt: skip


def outliers(comparison: Comparison) -> list[tuple[Row, Outlier]]:
    """Every measured run whose time is far from that of its repeats, in the tables' order."""
    return [found for stage in comparison.stages for g in stage.groups for found in g.outliers]


def sentences(comparison: Comparison, laws: Table, steps: Table) -> list[str]:
    """What more workers and the scaling laws show, and which runs are outliers or rejected."""
    return [
        *_steps(steps),
        *_peaks(laws),
        *_parts(comparison),
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
        verdicts = ", ".join(f"{counts[v]} {_VERDICTS[v]}" for v in Verdict if counts[v])
        count, where = counted(len(rows), "step"), BY_TABLE[name].title.lower()
        yield f"Adding workers, {count} in {where}: {verdicts}."
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
        unit = BY_TABLE[row["table"]].worker
        if peak == 1:
            yield f"By the USL, {row['series']} is never faster than on one {unit}."
            continue
        interval = "no interval"
        if low is not None:
            end = f"to {brief(high)}" if high else "up"
            interval = f"bootstrap interval from {brief(low)} {end}"
        beyond = ", more than were measured" if peak > row["workers_max"] else ""
        yield (
            f"By the USL, {row['series']} is fastest with about {counted(round(peak), unit)} "
            f"({interval}){beyond}: a prediction of {row['speedup_limit']:.1f} times as fast as "
            "with one, not a measurement."
        )


def _parts(comparison: Comparison) -> Iterator[str]:
    """Which parts exploration spends its work on, by the plainest configuration measured."""
    if Stage.EDA not in comparison.by_stage:
        return
    table = comparison.by_stage[Stage.EDA].table
    for row in table.measured[:1]:
        seconds = {part: row[f"{part}_s"] or 0.0 for part in EDA_PARTS}
        whole = sum(seconds.values())
        if whole:
            largest = sorted(seconds, key=lambda part: -seconds[part])
            shares = ", ".join(f"{part} {100 * seconds[part] / whole:.0f} %" for part in largest)
            yield f"Parts of exploration ({table.label(row)}): {shares}."


def _outlying(comparison: Comparison) -> Iterator[str]:
    found = outliers(comparison)
    if not found:
        return
    worst = sorted(found, key=lambda pair: -pair[1].score)[:MOST_NAMED]
    runs = ", ".join(
        f"{row.run_id} ({brief(o.value)} s, median {brief(o.median)} s)" for row, o in worst
    )
    first = "" if len(found) <= MOST_NAMED else "the farthest: "
    count = counted(len(found), "run")
    yield f"{count} far from the median of the repeats, not removed: {first}{runs}."


def _rejected(rows: Sequence[Row]) -> Iterator[str]:
    """Why runs are in no table: each reason that is not another one with other numbers."""
    reasons: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.is_rejected:
            reasons[row.status, alike(without_log(row.reason or ""))].append(row)
    if not reasons:
        return
    count = sum(map(len, reasons.values()))
    of = f"{count} of {counted(len(rows), 'run')} {'is' if count == 1 else 'are'} in no table"
    ranked = sorted(reasons.values(), key=lambda alike: (alike[0].status == "skipped", -len(alike)))
    if len(ranked) == 1:
        yield f"{of}: {_reason(ranked[0])}"
        return
    yield f"{of}, for {len(ranked)} reasons (each run: rejects.csv):"
    yield from map(_reason, ranked[:MOST_REASONS])
    if left := ranked[MOST_REASONS:]:
        runs = counted(sum(map(len, left)), "run")
        yield f"{runs} for {counted(len(left), 'further reason')}: see rejects.csv"


def _reason(rows: Sequence[Row]) -> str:
    """How many runs ended so, which is one of them, and its reason."""
    status, example = rows[0].status, rows[0].run_id
    what = "measured, but left out" if status == Status.OK else status.replace("_", " ")
    runs = f"{len(rows)} runs, for example {example}" if len(rows) > 1 else example
    return f"{what} ({runs}): {rows[0].reason or 'no reason recorded'}"
