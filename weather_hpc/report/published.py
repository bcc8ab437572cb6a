"""Our times and speedups next to those that the reproduced study printed (``results/paper``)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from weather_hpc.analysis.claims.table import ClaimsTable
from weather_hpc.analysis.published import EPOCHS, IMAGES, Published, read_published
from weather_hpc.analysis.table import ScalingTable, Table, above
from weather_hpc.report.collected import Collected
from weather_hpc.report.published_plot import (
    BothSpeedups,
    both_speedups,
    label_of,
    ratio_sentence,
    speedups_drawing,
)
from weather_hpc.report.section import ReportSection
from weather_hpc.study.spec import Scaling
from weather_hpc.text import counted

COLUMNS = [
    "configuration", "published_on", "published_time_s", "time_s", "time_s_low", "time_s_high",
    "published_speedup", "speedup", "speedup_low", "speedup_high", "published_baseline", "baseline",
    "note",
]  # fmt: skip

CAPTION = (
    "The study's time and speedup, against its own baseline, then ours. Empty: a speedup that it "
    "did not print and that does not follow from its times."
)

NOT_COMPARABLE = (
    f"Seconds are not comparable: the study ran {IMAGES:,} images, and {EPOCHS} epochs in "
    "training, on the hardware named, and its times include start-up and evaluation; {ours}. How "
    "speedup grows with workers is comparable where the bottleneck is the same, best with its data "
    "set and epochs."
)


@dataclass(frozen=True)
class PublishedPair:
    """A configuration of ours with the study's time for the same."""

    published: Published
    table: ScalingTable
    row: dict[str, Any]


def pairs(tables: Sequence[ScalingTable]) -> list[PublishedPair]:
    """Every pair that can be compared; the study measured strong scaling only."""
    return [
        PublishedPair(published, table, row)
        for table in tables
        for published in read_published()
        if published.table == table.name and published.time_s is not None
        for row in table.measured
        if row["scaling"] != Scaling.WEAK
        and all(row[column] == value for column, value in published.match.items())
    ]


def published_table(tables: Sequence[ScalingTable]) -> Table:
    """Time and speedup side by side."""
    rows = []
    for pair in pairs(tables):
        row = {column: pair.row.get(column) for column in COLUMNS} | {
            "configuration": pair.table.label(pair.row),
            "published_on": pair.published.hardware,
            "published_time_s": pair.published.time_s,
            "published_speedup": pair.published.speedup,
            "published_baseline": pair.published.baseline,
            "note": _note(pair),
        }
        rows.append(row)
    return Table("published", "Time and speedup, side by side", CAPTION, COLUMNS, rows)


def _note(pair: PublishedPair) -> str | None:
    """Whether the study's speedup, or ours, is above the number of workers."""
    table, row = pair.table, pair.row
    whose = []
    if above(pair.published.speedup, None, table.workers(row)):
        whose.append("in the study")
    if table.above_workers(row):
        whose.append("here")
    return f"super-linear {' and '.join(whose)}" if whose else None


def published_speedups(tables: Sequence[ScalingTable]) -> list[BothSpeedups]:
    """Every speedup of the study for a method that was measured here, with ours beside it."""
    compared = [pair for pair in pairs(tables) if not pair.published.is_baseline]
    found = []
    for pair in compared:
        published, row = pair.published, pair.row
        if published.speedup is not None and row["speedup"] is not None:
            label = f"{label_of(published)}{_settings(pair, compared)}"
            ours = row["speedup"], row["speedup_low"], row["speedup_high"]
            both = BothSpeedups(published.table, published.panel, label, published.speedup, *ours)
            found.append((published, both))
    return both_speedups(tables, found)


def _settings(pair: PublishedPair, others: Sequence[PublishedPair]) -> str:
    """The settings in which our row differs from ``others`` of the same backend or strategy."""
    settled = set(pair.published.match)
    if "batch_size_global" in settled:
        settled.add("batch_size_per_device")
    alike = [other.row for other in others if other.published.panel == pair.published.panel]
    known = ("device", "batch_size_per_device", *pair.table.distinguishing, "nodes")
    names = [c for c in known if c in pair.table.columns and c not in settled]
    varying = [name for name in names if len({row[name] for row in alike}) > 1]
    words = {"batch_size_per_device": "batch here"}
    return "".join(f", {words.get(name, name)} {pair.row[name]}" for name in varying)


def not_comparable(tables: Sequence[ScalingTable]) -> str:
    """Why the study's seconds and ours are not comparable, as text."""
    compared = pairs(tables)
    facts = []
    for column, noun in (("images", "image"), ("epochs", "epoch")):
        values = sorted({p.row[column] for p in compared if p.row.get(column) is not None})
        if values:
            span = f"{values[0]} to {values[-1]} {noun}s"
            facts.append(span if len(values) > 1 else counted(values[0], noun))
    ours = f"ours have {' and '.join(facts)}" if facts else "ours are in the tables"
    return NOT_COMPARABLE.format(ours=ours)


def published_section(collected: Collected) -> ReportSection:
    """Our times and speedups beside the study's, and its conclusions tested."""
    tables = collected.comparison.tables
    table, both = published_table(tables), published_speedups(tables)
    claims = [t for t in collected.extras if t.rows and isinstance(t, ClaimsTable)]
    return ReportSection(
        "published",
        "Beside the published study",
        not_comparable(tables) if table.rows else "",
        tables=[table] if table.rows else [],
        sentences=ratio_sentence(both),
        plots=[replace(speedups_drawing(both), optional=not both)],
        parts=[_claims(table) for table in claims],
        # most studies have nothing in common with it
        optional=True,
    )


def _claims(table: ClaimsTable) -> ReportSection:
    text = f"From: {table.source}. docs/how-to/claims.md says how a claim is tested."
    return ReportSection(
        table.name,
        table.title,
        text,
        sentences=table.contradictions,
        tables=table.parts,
        files={part.name: f"tables/{table.name}.csv" for part in table.parts},
    )
