"""What the sweep cost: node-hours used, lost on failures, and expected."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.colours import INK, PALETTE
from weather_hpc.report.cut_axis import duration_text
from weather_hpc.report.drawing import SINGLE_WIDTH, Drawing
from weather_hpc.report.gantt import how_ended
from weather_hpc.runs.ending import without_log
from weather_hpc.runs.forecast_file import Expected, read_forecast
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import FAILURES
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Row
from weather_hpc.text import alike, brief, counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEAR = 4.0
"""The bound is drawn where it is at most so many times what was used or forecast."""
_PLOTTED = ("stage", "node_hours", "lost_node_hours")
_MARKS = (
    ("forecast_node_hours", "D", "forecast"),
    ("at_most_node_hours", "|", "most that the time limits allow"),
)
"""Columns of the table that are marked beside the bars, marker and words."""
_LONGEST_REASON = 160
"""Characters of a reason in a sentence."""


def hours_used(row: Row) -> float | None:
    """Node-hours of all tries of a run; None where nothing is known of them."""
    return row.node_hours if row.node_hours_spent is None else row.node_hours_spent


def hours_lost(row: Row) -> float:
    """Those of tries that made nothing, as far as they are known."""
    used = hours_used(row) or 0.0
    return used if failed(row) else max(0.0, used - (row.node_hours or used))


def failed(row: Row) -> bool:
    """Whether the run began and made nothing."""
    return row.status in FAILURES


@dataclass(frozen=True)
class StageCost:
    """The runs of one stage."""

    stage: str
    rows: tuple[Row, ...]
    expected: tuple[Expected | None, ...]
    """Of each run, as at its last submission; None: not kept."""

    @property
    def used(self) -> float | None:
        """Node-hours of all runs, as far as they are known; None: of none."""
        return _total(hours_used(row) for row in self.rows)

    @property
    def lost(self) -> float:
        """Node-hours of failed runs, and of earlier tries of others."""
        return sum(map(hours_lost, self.rows))

    @property
    def forecast(self) -> float | None:
        """Node-hours that the runs were expected to take; None unless known of each."""
        hours = [each.node_hours if each else None for each in self.expected]
        return None if not hours or None in hours else _total(hours)

    @property
    def at_most(self) -> float | None:
        """Node-hours that they could have taken; None unless known of each."""
        known = [each.at_most for each in self.expected if each]
        return _total(known) if len(known) == len(self.rows) else None

    @property
    def waited_s(self) -> float | None:
        """Seconds in the queue of all jobs together, as far as they are known; None: of none."""
        return _total(row.queue_s for row in self.rows)

    @property
    def cells(self) -> dict[str, Any]:
        """Its row of the table."""
        waited = self.waited_s
        return {
            "stage": self.stage,
            "runs": len(self.rows),
            "failed": sum(map(failed, self.rows)),
            "restarted": sum(bool(row.restarts) for row in self.rows),
            "node_hours": self.used,
            "lost_node_hours": self.lost if self.used is not None else None,
            "forecast_node_hours": self.forecast,
            "at_most_node_hours": self.at_most,
            "queue_h": None if waited is None else waited / 3600,
        }


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def stage_costs(rows: Sequence[Row]) -> list[StageCost]:
    """What the runs of each stage cost that were made, in the order in which the stages come."""
    made: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.status not in (Status.SKIPPED, Status.INCOMPLETE):
            made[row.stage or "not known"].append(row)
    forecasts = _forecasts(row for found in made.values() for row in found)
    return [
        StageCost(stage, tuple(found), tuple(forecasts(row) for row in found))
        for stage, found in made.items()
    ]


def _forecasts(rows: Iterable[Row]) -> "_Forecasts":
    folders = {Path(row.source).parent.parent for row in rows}
    return _Forecasts({folder: read_forecast(StudyPaths(folder)) for folder in folders})


@dataclass(frozen=True)
class _Forecasts:
    """What was kept in each results folder."""

    by_folder: dict[Path, dict[str, Expected]]

    def __call__(self, row: Row) -> Expected | None:
        return self.by_folder[Path(row.source).parent.parent].get(row.run_id)


def cost_table(costs: Sequence[StageCost]) -> Table:
    """A row for each stage."""
    columns = [*StageCost("", (), ()).cells]
    return Table(
        name="sweep",
        title="What the sweep cost",
        caption="Runs that were made, failed ones included. node_hours: nodes x wall time of all "
        "tries, as far as their durations are known; lost_node_hours: of these, failed runs and "
        "tries that were repeated. forecast_node_hours and at_most_node_hours: as estimated from "
        "earlier runs, and by the time limits, when each run was submitted last; empty unless "
        "known of every run. queue_h: hours in the queue, all jobs together; they cost no "
        "node-hours.",
        columns=columns,
        rows=[cost.cells for cost in costs],
    )


def cost_sentences(costs: Sequence[StageCost]) -> Iterator[str]:
    """What was used, lost and expected, and why runs failed."""
    rows = [row for cost in costs for row in cost.rows]
    everything = StageCost("all", tuple(rows), tuple(e for cost in costs for e in cost.expected))
    waits = [row.queue_s for row in rows if row.queue_s is not None]
    if waits and max(waits) >= 1:
        yield (
            f"A job waited {duration_text(median(waits))} in the queue, the median of "
            f"{len(waits)}; the longest {duration_text(max(waits))}."
        )
    if text := _failures([row for row in rows if failed(row)], len(rows)):
        yield text
    used = everything.used
    if used is None:
        return
    lost, expected, most = everything.lost, everything.forecast, everything.at_most
    text = f"{brief(used)} node-hours were used"
    if expected:
        text += f", {100 * used / expected:.0f} % of the {brief(expected)} that were forecast"
    if most:
        text += f"; the time limits allowed {brief(most)}"
    yield f"{text}."
    if lost > 0:
        yield (
            f"{brief(lost)} of them ({100 * lost / used:.0f} %) went to runs that failed and to "
            "tries that were repeated."
        )


def _failures(rows: Sequence[Row], of: int) -> str:
    """How many runs failed, how, and the commonest reason; empty where none did."""
    if not rows:
        return ""
    ends = Counter(row.status for row in rows)
    kinds = ", ".join(f"{count} {how_ended(status)}" for status, count in ends.most_common())
    reasons = Counter(alike(without_log(row.reason or "")) for row in rows)
    (common, count), *_ = reasons.most_common(1)
    example = next(r for row in rows if alike(r := without_log(row.reason or "")) == common)
    text = f"{len(rows)} of {counted(of, 'run')} failed ({kinds})"
    if not common:
        return f"{text}."
    example = example if len(example) <= _LONGEST_REASON else f"{example[:_LONGEST_REASON]}…"
    times = f"; the commonest reason ({counted(count, 'time')})" if len(rows) > 1 else ""
    return f"{text}{times}: {example.rstrip('.')}."


def cost_bars(costs: Sequence[StageCost]) -> Drawing:
    """Node-hours of each stage: used, lost and expected."""
    name, title = "node_hours", "Node-hours of the sweep"
    known = [cost for cost in costs if cost.used]
    if not known:
        return Drawing(name, title, "no run says how long it took")
    return Drawing(
        name,
        title,
        "Node-hours by stage. " + "; ".join(map(_as_text, known)) + ".",
        lambda figure: _draw(figure, title, known),
        size=(SINGLE_WIDTH, 1.9 + 0.4 * len(known)),
        data=[
            {column: cost.cells[column] for column in _PLOTTED}
            | {column: _near(cost.cells[column], known) for column, _, _ in _MARKS}
            for cost in known
        ],
    )


def _near(hours: float | None, costs: Sequence[StageCost]) -> float | None:
    """``hours`` where they are not too many to be drawn beside what was used and forecast."""
    most = max(0.0, *(value or 0.0 for cost in costs for value in (cost.used, cost.forecast)))
    return hours if hours is not None and hours <= _NEAR * most else None


def _as_text(cost: StageCost) -> str:
    text = f"{cost.stage}: {brief(cost.used or 0.0)} used, {brief(cost.lost)} of them lost"
    text += f", {brief(cost.forecast)} forecast" if cost.forecast is not None else ""
    return text + (f", at most {brief(cost.at_most)}" if cost.at_most is not None else "")


def _draw(figure: "Figure", title: str, costs: Sequence[StageCost]) -> None:
    axes = figure.subplots()
    used = [cost.used or 0.0 for cost in costs]
    lost = [min(cost.lost, hours) for cost, hours in zip(costs, used, strict=True)]
    useful = [hours - part for hours, part in zip(used, lost, strict=True)]
    places = range(len(costs))
    axes.barh(places, useful, height=0.6, color=PALETTE[0], label="runs that succeeded")
    if any(lost):
        axes.barh(
            places, lost, left=useful, height=0.6, color=PALETTE[4], hatch="///", edgecolor="white",
            label="failed runs and repeated tries",
        )  # fmt: skip
    for column, marker, label in _MARKS:
        near = [_near(cost.cells[column], costs) for cost in costs]
        if any(hours is not None for hours in near):
            axes.plot(
                [math.nan if hours is None else hours for hours in near], places, marker, color=INK,
                markersize=8, markerfacecolor="none", markeredgewidth=1.6, linestyle="none",
                label=label,
            )  # fmt: skip
    axes.set_yticks(places, [cost.stage for cost in costs])
    axes.set_ylim(len(costs) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("node-hours, all tries")
    axes.set_xlim(left=0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.legend(loc="outside lower left", ncols=2)
