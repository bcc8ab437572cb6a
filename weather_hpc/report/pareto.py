"""Time against node-hours: the configurations that no other beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.candidates import Candidate, Work, all_works
from weather_hpc.report.collected import Collected
from weather_hpc.report.colours import FAINT, INK, PAPER, colour_of
from weather_hpc.report.drawing import DOUBLE_WIDTH, SINGLE_WIDTH, Drawing
from weather_hpc.report.label_places import place_labels
from weather_hpc.report.log_axes import LOG, log_limits, log_ticks, set_log_y
from weather_hpc.report.short_label import ShortLabels
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, TITLE = "pareto", "Time against node-hours of a run"
MOST_LABELS = 8
"""Configurations of the frontier that are named, as far as there is room."""
MOST_POINTS = 500
"""Configurations that are drawn, the frontier among them."""


@dataclass(frozen=True)
class Choice:
    """One configuration and what it takes."""

    label: str
    method: str
    time_s: float
    node_hours: float
    on_frontier: bool
    """Whether no other takes less of one and not more of the other."""


def pareto(collected: Collected) -> Drawing:
    """A panel for each stage; of several works of a stage, the one with most configurations."""
    works = all_works(collected.comparison)
    stages = dict.fromkeys(work.stage for work in works)
    panels = {stage: found for stage in stages if (found := _of(stage, works, collected))}
    if not panels:
        reason = "no two configurations of one work have known node-hours"
        # of single configurations there is nothing to choose
        alone = all(len(work.candidates) < 2 for work in works)
        return Drawing(NAME, TITLE, reason, optional=alone)
    lines = collected.deadline_s, collected.budget_node_hours
    kept = {stage: _fitting(choices) for stage, choices in panels.items()}
    return Drawing(
        NAME,
        TITLE,
        _as_text(panels),
        lambda figure: _draw(figure, kept, *lines),
        size=(SINGLE_WIDTH if len(panels) == 1 else DOUBLE_WIDTH, 3.9),
        left_out=sum(len(panels[stage]) - len(kept[stage]) for stage in panels),
        data=[
            {
                "stage": stage, "configuration": one.label, "time_s": one.time_s,
                "node_hours": one.node_hours, "on_frontier": one.on_frontier,
            }
            for stage, choices in kept.items()
            for one in choices
        ],
    )  # fmt: skip


def _of(stage: str, works: Sequence[Work], collected: Collected) -> list[Choice]:
    found = [_known(work) for work in works if work.stage == stage and not work.weak]
    most = max(found, key=len, default=[])
    if len(most) < 2:
        return []
    compared = next(one for one in collected.comparison.stages if one.table.name == stage)
    short = ShortLabels(compared.table)
    cells = {id(one.group): one.cells for one in compared.configurations}
    best = frontier(most)
    return [
        Choice(
            short.of(cells[id(one.group)]),
            str(cells[id(one.group)][BY_TABLE[stage].method] or ""),
            time_s,
            node_hours,
            one in best,
        )
        for one, time_s, node_hours in most
    ]


Known = tuple[Candidate, float, float]


def _known(work: Work) -> list[Known]:
    return [
        (one, one.time_s, one.node_hours)
        for one in work.candidates
        if one.time_s is not None and one.node_hours is not None
    ]


def frontier(known: Sequence[Known]) -> list[Candidate]:
    """Those that no other beats in time or node-hours without losing in the other."""
    best: list[Candidate] = []
    last = (float("inf"), float("inf"))
    for one, *both in sorted(known, key=lambda each: each[1:]):
        if both[1] < last[1] or tuple(both) == last:
            best.append(one)
            last = (both[0], both[1])
    return best


def _fitting(choices: Sequence[Choice]) -> list[Choice]:
    return sorted(choices, key=lambda one: not one.on_frontier)[:MOST_POINTS]


def _draw(
    figure: "Figure",
    panels: dict[str, list[Choice]],
    deadline_s: float | None,
    budget_node_hours: float | None,
) -> None:
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (stage, choices) in zip(all_axes, panels.items(), strict=True):
        _draw_panel(axes, choices)
        times = [one.time_s for one in choices]
        if deadline_s is not None:
            _line(axes, deadline_s, None, "deadline")
            times.append(deadline_s)
        set_log_y(axes, times, "time, s")
        hours = [one.node_hours for one in choices]
        if budget_node_hours is not None:
            _line(axes, None, budget_node_hours, "budget")
            hours.append(budget_node_hours)
        low, high = log_limits(hours)
        ticks = log_ticks(low, high)[:5]
        axes.set_xscale("log", base=2)
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [brief(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(f"node-hours of a run, start-up included {LOG}")
        axes.set_title(BY_TABLE[stage].title)
    figure.suptitle(TITLE, x=0.01, ha="left")
    for axes, choices in zip(all_axes, panels.values(), strict=True):
        points = [(one.node_hours, one.time_s) for one in choices]
        best = _best(choices)[:MOST_LABELS]
        labels = [(one.label, one.node_hours, one.time_s) for one in best]
        place_labels(figure, axes, labels, points)


def _best(choices: Sequence[Choice]) -> list[Choice]:
    """The frontier, the fastest first."""
    return sorted((one for one in choices if one.on_frontier), key=lambda one: one.time_s)


def _draw_panel(axes: "Axes", choices: Sequence[Choice]) -> None:
    best = _best(choices)
    axes.step(
        [one.node_hours for one in best], [one.time_s for one in best], where="pre",
        color=FAINT, linewidth=1.2, zorder=1,
    )  # fmt: skip
    for one in choices:
        style: dict[str, Any] = {"markerfacecolor": colour_of(one.method), "zorder": 3}
        if not one.on_frontier:
            style = {"markerfacecolor": PAPER, "zorder": 2}
        axes.plot(
            [one.node_hours], [one.time_s], "o", color=colour_of(one.method),
            markersize=7 if one.on_frontier else 5, **style,
        )  # fmt: skip


def _line(axes: "Axes", y: float | None, x: float | None, label: str) -> None:
    if y is not None:
        axes.axhline(y, color=INK, linewidth=1, linestyle="--")
        axes.annotate(label, (0.01, y), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
    if x is not None:
        axes.axvline(x, color=INK, linewidth=1, linestyle="--")
        axes.annotate(label, (x, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top",
                      ha="right", fontsize=8)  # fmt: skip


def _as_text(panels: dict[str, list[Choice]]) -> str:
    parts = []
    for stage, choices in panels.items():
        best = [
            f"{one.label}: {brief(one.time_s)} s, {brief(one.node_hours)} node-hours"
            for one in choices
            if one.on_frontier
        ]
        parts.append(f"{BY_TABLE[stage].title}: {'; '.join(best)}")
    return (
        "Configurations that no other beats in both (filled; hollow: the others). "
        + ". ".join(parts)
        + "."
    )
