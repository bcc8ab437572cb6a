"""Our speedups beside those that the reproduced study printed, configuration by configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from weather_hpc.analysis.published import P100, Published, read_published
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.colours import FAINT, INK, PAPER, colour_of
from weather_hpc.report.curve import batch_text
from weather_hpc.report.drawing import DOUBLE_WIDTH, Drawing, plain
from weather_hpc.report.log_axes import LOG, log_limits, log_ticks
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import brief, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, TITLE = "published_speedup", "Speedup here and in the reproduced study"
MOST_LINES = 24
"""Configurations of one stage in the plot."""


@dataclass(frozen=True)
class BothSpeedups:
    """A configuration's speedup in the study and here."""

    table: str
    method: str
    label: str
    published: float
    ours: float | None = None
    """None: it was not measured here."""
    low: float | None = None
    high: float | None = None


def both_speedups(
    tables: Sequence[ScalingTable], pairs: Sequence[tuple[Published, BothSpeedups]]
) -> list[BothSpeedups]:
    """``pairs``, and what the study has of the same methods that was not measured here."""
    measured = {
        (table.name, str(row[BY_TABLE[table.name].method]))
        for table in tables
        for row in table.measured
    }
    found = []
    for published in read_published():
        # a speedup of 1 is that of a baseline over itself
        if published.speedup is None or published.speedup == 1 or published.is_baseline:
            continue
        ours = [both for of, both in pairs if of == published]
        if ours:
            found += ours
        elif (published.table, published.panel) in measured:
            found.append(
                BothSpeedups(
                    published.table, published.panel, label_of(published), published.speedup
                )
            )
    return found


def label_of(published: Published) -> str:
    """The study's configuration in few words."""
    stage = BY_TABLE[published.table]
    size = published.match.get("world_size") or published.match["workers"]
    words = [published.panel, counted(size, stage.worker)]
    words += filter(None, [batch_text(published.match)])
    return ", ".join(words) + (f" ({P100})" if published.hardware == P100 else "")


def ratio_sentence(both: Sequence[BothSpeedups]) -> list[str]:
    """How our speedups compare with the study's, in a sentence; none where there are no pairs."""
    pairs = [one for one in both if one.ours is not None]
    if not pairs:
        return []
    ratios = {id(one): (one.ours or 0.0) / one.published for one in pairs}
    farthest = max(pairs, key=lambda one: abs(_log(ratios[id(one)])))
    ours = f"{farthest.label}: {farthest.ours:.2f} here, {farthest.published:.2f} there"
    if len(pairs) == 1:
        return [f"One configuration has a speedup in both: {ours}."]
    low, high = min(ratios.values()), max(ratios.values())
    text = (
        f"Our speedup is {low:.2f} to {high:.2f} times the study's (median "
        f"{median(ratios.values()):.2f}) in the {len(pairs)} configurations that both measured; "
        f"farthest apart is {ours}."
    )
    return [text]


def _log(ratio: float) -> float:
    from math import inf, log

    return log(ratio) if ratio > 0 else inf


def speedups_drawing(both: Sequence[BothSpeedups]) -> Drawing:
    """A line for each configuration: theirs hollow, ours solid; those with both first kept."""
    if not any(one.ours is not None for one in both):
        reason = "no configuration has a speedup both here and in the study"
        return Drawing(NAME, TITLE, reason)
    tables = list(dict.fromkeys(one.table for one in both))
    panels = []
    for table in tables:
        of = [one for one in both if one.table == table]
        kept = sorted(of, key=lambda one: one.ours is None)[:MOST_LINES]
        panels.append([one for one in of if any(one is other for other in kept)])
    shown = [one for panel in panels for one in panel]
    lines = max(map(len, panels))
    return Drawing(
        NAME,
        TITLE,
        _as_text(shown),
        lambda figure: _draw(figure, panels),
        size=(DOUBLE_WIDTH, 1.2 + 0.24 * lines),
        left_out=len(both) - len(shown),
        data=[
            {
                "stage": one.table, "configuration": one.label,
                "published_speedup": one.published, "speedup": one.ours,
                "speedup_low": one.low, "speedup_high": one.high,
            }
            for one in shown
        ],
    )  # fmt: skip


def _draw(figure: "Figure", panels: Sequence[Sequence[BothSpeedups]]) -> None:
    from matplotlib.lines import Line2D

    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel)
        axes.set_ylim(max(map(len, panels)) - 0.4, -0.6)  # lines equally high in all
        axes.set_title(BY_TABLE[panel[0].table].title)
    handles = [
        Line2D([], [], color=INK, marker="o", linestyle="none", label="here"),
        Line2D(
            [], [], color=INK, marker="o", markerfacecolor=PAPER, linestyle="none",
            label="published",
        ),
    ]  # fmt: skip
    if any(one.low is not None for panel in panels for one in panel):
        handles.append(Line2D([], [], color=INK, linewidth=2, label="interval"))
    figure.suptitle(TITLE, x=0.01, ha="left")
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))


def _draw_panel(axes: "Axes", panel: Sequence[BothSpeedups]) -> None:
    for place, one in enumerate(panel):
        colour = colour_of(one.method)
        if one.ours is not None:
            axes.plot([one.published, one.ours], [place] * 2, color=FAINT, linewidth=1, zorder=1)
            if one.low is not None and one.high is not None:
                axes.plot([one.low, one.high], [place] * 2, color=colour, linewidth=2.4, zorder=2)
            axes.plot([one.ours], [place], "o", color=colour, markersize=7, zorder=4)
        axes.plot(
            [one.published], [place], "o", color=colour, markerfacecolor=PAPER, markersize=7,
            markeredgewidth=1.5, zorder=3,
        )  # fmt: skip
    values = [v for one in panel for v in (one.published, one.ours, one.low, one.high) if v]
    low, high = log_limits([1.0, *values])
    ticks = log_ticks(low, high, doubling=True)
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1.0, color=FAINT, linewidth=1.2)
    axes.set_xlabel(f"speedup {LOG}")
    axes.set_yticks(range(len(panel)), [plain(one.label) for one in panel])
    axes.tick_params(axis="y", length=0)


def _as_text(both: Sequence[BothSpeedups]) -> str:
    parts = []
    for one in both:
        here = "not measured here" if one.ours is None else f"{brief(one.ours)} here"
        parts.append(f"{one.label}: {here}, {brief(one.published)} published")
    return "Speedup by configuration. " + "; ".join(parts) + "."
