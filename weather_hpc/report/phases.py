"""Where the time went: the phases of each configuration, as a table and as stacked bars."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import median
from weather_hpc.analysis.table import Table
from weather_hpc.report.colours import FAINT, PALETTE
from weather_hpc.report.drawing import DOUBLE_WIDTH, MOST_BARS, Drawing
from weather_hpc.report.short_label import ShortLabels
from weather_hpc.report.stacked_bars import (
    BAR_HEIGHT,
    bars_as_text,
    label_bars,
    share_bars,
    stack_bars,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUEUE = {"queue_s": FAINT}
OUTSIDE = {
    "startup_s": PALETTE[5], "warmup_s": PALETTE[7], "checkpoint_s": PALETTE[6],
    "evaluation_s": PALETTE[3],
}  # fmt: skip
"""Colours of the phases of a job that are no part of time_s."""
MEASURED = {
    "compute_s": PALETTE[0], "data_wait_s": PALETTE[1], "communication_s": PALETTE[4],
}  # fmt: skip
"""Colours of the parts of time_s."""
OTHER = "other_s"
"""What is left of time_s."""
PHASES = [
    "queue_s", "startup_s", "warmup_s", "data_wait_s", "compute_s", "communication_s",
    "checkpoint_s", "evaluation_s",
]  # fmt: skip
_SMALLEST_REST = 0.01
"""Share of time_s from which the rest is shown."""


@dataclass(frozen=True)
class PhaseTimes:
    """One configuration's phases in seconds; None where a phase was not recorded."""

    stage: str | None
    label: str
    seconds: dict[str, float | None]
    total_s: float | None
    rest_s: float | None = field(default=None)
    """What is left of time_s; None where it is little, or not known."""
    short: str = ""
    """``label`` in few words."""


def phase_times(comparison: Comparison) -> list[PhaseTimes]:
    """The phases of each measured configuration that recorded any, in the order of the tables."""
    times = []
    for stage in comparison.stages:
        short = ShortLabels(stage.table)
        for configuration in stage.configurations:
            group = configuration.group
            seconds = {name: group.median(name) for name in PHASES}
            if any(value for value in seconds.values()):
                label, total = stage.label(configuration), group.median("total_s")
                few = short.of(configuration.cells)
                times.append(
                    PhaseTimes(group.settings.stage, label, seconds, total, _rest(group), few)
                )
    return times


def _rest(group: Group) -> float | None:
    rests = []
    for row in group.measured:
        known = [value for name in MEASURED if (value := getattr(row, name)) is not None]
        if row.time_s and known:
            rest = row.time_s - sum(known)
            rests.append(rest if rest > _SMALLEST_REST * row.time_s else 0.0)
    return median(rests) or None


def recorded(times: Iterable[PhaseTimes]) -> list[str]:
    """The phases that any configuration recorded."""
    found = {name for one in times for name, value in one.seconds.items() if value is not None}
    return [name for name in PHASES if name in found]


def phase_table(times: Sequence[PhaseTimes]) -> Table:
    """``times`` as a table of the recorded phases."""
    phases = recorded(times)
    rows = [
        {"configuration": one.label}
        | {name: one.seconds[name] for name in phases}
        | {"total_s": one.total_s}
        for one in times
    ]
    return Table(
        name="phases",
        title="Phases",
        caption="Median seconds of each phase over the runs of a configuration. "
        "Empty: the stage has no such phase, or did not record it.",
        columns=["configuration", *phases, "total_s"],
        rows=rows,
    )


def phase_bars(stage: str, title: str, times: Iterable[PhaseTimes]) -> Drawing:
    """A bar per configuration of ``stage``; of more than fit, the longest ones."""
    times = [one for one in times if one.stage == stage]
    name = f"phases_{stage}"
    if not times:
        return Drawing(name, title, "no measured run recorded its phases")
    longest = sorted(times, key=_in_job, reverse=True)[:MOST_BARS]
    shown = [one for one in times if any(one is kept for kept in longest)]
    return Drawing(
        name,
        title,
        _as_text(shown),
        lambda figure: _draw(figure, title, shown),
        size=(DOUBLE_WIDTH, 1.2 + BAR_HEIGHT * len(shown)),
        left_out=len(times) - len(shown),
        data=[
            {"configuration": one.label, **_known(one.seconds | {OTHER: one.rest_s})}
            for one in shown
        ],
    )


def _known(seconds: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in seconds.items() if value is not None}


def _draw(figure: "Figure", title: str, times: Sequence[PhaseTimes]) -> None:
    bars = [one.seconds | {OTHER: one.rest_s} for one in times]
    known = {name for seconds in bars for name, value in seconds.items() if value}
    colours = [
        {name: colour for name, colour in part.items() if name in known}
        for part in (MEASURED | {OTHER: FAINT}, OUTSIDE, QUEUE)
    ]
    inside, outside, queue = colours
    panels = [
        (stack_bars, inside, "measured time, s", 2.2),
        (share_bars, inside, "share of the measured time, %", 2.2),
        # axes of their own: measured seconds would be invisible next to hours in the queue
        (stack_bars, outside, "start-up and others, s", 1.4),
        (stack_bars, queue, "queue, s", 0.8),
    ]
    panels = [panel for panel in panels if panel[1]]
    axes = figure.subplots(
        1, len(panels), sharey=True, squeeze=False, width_ratios=[panel[3] for panel in panels]
    )[0]
    for one, (draw, of, label, _) in zip(axes, panels, strict=True):
        draw(one, bars, of)
        one.set_xlabel(label)
    label_bars(figure, axes[0], title, [one.short or one.label for one in times])


def _as_text(times: Sequence[PhaseTimes]) -> str:
    bars = ((one.label, one.seconds) for one in times)
    return "Seconds of each phase by configuration. " + bars_as_text(bars)


def _in_job(one: PhaseTimes) -> float:
    return sum(value for name, value in one.seconds.items() if value and name != "queue_s")
