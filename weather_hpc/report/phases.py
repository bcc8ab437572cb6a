"""Where the time went: the phases of each configuration, as a table and as stacked bars."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.table import Table
from weather_hpc.report.drawing import (
    DOUBLE_WIDTH,
    FAINT,
    LONGEST_LABEL,
    MOST_BARS,
    PALETTE,
    Drawing,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASES = [
    "queue_s", "startup_s", "warmup_s", "data_wait_s", "compute_s", "communication_s",
    "checkpoint_s", "evaluation_s",
]  # fmt: skip
COLOURS = dict(zip(PHASES, [FAINT, *PALETTE, "#5a5a57"], strict=True))
_LABEL = 2 * LONGEST_LABEL
"""Characters of a bar's label, in a wide figure."""


@dataclass(frozen=True)
class PhaseTimes:
    """One configuration's phases in seconds; None where a phase was not recorded."""

    stage: str | None
    label: str
    seconds: dict[str, float | None]
    total_s: float | None


def phase_times(comparison: Comparison) -> list[PhaseTimes]:
    """The phases of each measured configuration that recorded any, in the order of the tables."""
    times = []
    for stage in comparison.stages:
        for configuration in stage.configurations:
            group = configuration.group
            seconds = {name: group.median(name) for name in PHASES}
            if any(value for value in seconds.values()):
                label, total = stage.label(configuration), group.median("total_s")
                times.append(PhaseTimes(group.settings.stage, label, seconds, total))
    return times


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
    shown = [one for one in times if one in longest]
    return Drawing(
        name,
        title,
        _as_text(shown),
        lambda figure: _draw(figure, title, shown),
        size=(DOUBLE_WIDTH, 1.4 + 0.32 * len(shown)),
        left_out=len(times) - len(shown),
    )


def _draw(figure: "Figure", title: str, times: Sequence[PhaseTimes]) -> None:
    phases = recorded(times)
    inside = [name for name in phases if name != "queue_s"]
    queued = any(one.seconds["queue_s"] for one in times)
    # an axis of its own: seconds of work would be invisible next to hours in the queue
    if queued:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 4))
        _stack(left, times, ["queue_s"], "waiting in the queue, s")
    else:
        right = figure.subplots()
    _stack(right, times, inside, "in the job, s (median over the runs)")
    label_bars(figure, left if queued else right, title, [one.label for one in times])


def label_bars(figure: "Figure", axes: "Axes", title: str, labels: Sequence[str]) -> None:
    """Name the bars in ``axes`` of ``figure``, the first on top, and add title and legend."""
    axes.set_yticks(range(len(labels)), [plain(label, _LABEL) for label in labels])
    axes.invert_yaxis()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.legend(loc="outside lower left", ncols=8, columnspacing=1.2, handlelength=1.0)


def _stack(axes: "Axes", times: Sequence[PhaseTimes], phases: Sequence[str], label: str) -> None:
    stack_bars(axes, [one.seconds for one in times], {name: COLOURS[name] for name in phases})
    axes.set_xlabel(label)


def stack_bars(
    axes: "Axes", bars: Sequence[Mapping[str, float | None]], colours: Mapping[str, str]
) -> None:
    """A horizontal bar for each of ``bars``: seconds by column, stacked in the order of
    ``colours``."""
    start = [0.0] * len(bars)
    for name, colour in colours.items():
        lengths = [seconds[name] or 0.0 for seconds in bars]
        axes.barh(
            range(len(bars)), lengths, left=start, height=0.7, label=seconds_of(name),
            color=colour, edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        start = [before + length for before, length in zip(start, lengths, strict=True)]
    axes.grid(axis="y", visible=False)


def _as_text(times: Sequence[PhaseTimes]) -> str:
    bars = ((one.label, one.seconds) for one in times)
    return "Seconds of each phase by configuration. " + bars_as_text(bars)


def bars_as_text(bars: Iterable[tuple[str, Mapping[str, float | None]]]) -> str:
    """Labels and seconds of ``bars``, for readers who do not see them."""
    parts = []
    for label, seconds in bars:
        known = [(name, value) for name, value in seconds.items() if value]
        parts.append(f"{label}: " + ", ".join(f"{seconds_of(n)} {v:.3g}" for n, v in known))
    return "; ".join(parts) + "."


def seconds_of(column: str) -> str:
    """What the seconds in ``column`` were spent on: ``data wait`` of ``data_wait_s``."""
    return column.removesuffix("_s").replace("_", " ")


def _in_job(one: PhaseTimes) -> float:
    return sum(value for name, value in one.seconds.items() if value and name != "queue_s")
