"""Where the time went: the phases of each configuration, as a table and as stacked bars."""

from collections.abc import Iterable, Sequence
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
"""Characters of a bar's label: a wide figure has room for them."""


@dataclass(frozen=True)
class Split:
    """One configuration's phases in seconds; None where a phase was not recorded."""

    stage: str | None
    label: str
    seconds: dict[str, float | None]
    total_s: float | None


def phase_splits(comparison: Comparison) -> list[Split]:
    """One Split per measured configuration that recorded any phase, as the tables order them."""
    splits = []
    for stage in comparison.stages:
        for configuration in stage.configurations:
            group = configuration.group
            seconds = {name: group.median(name) for name in PHASES}
            if any(value for value in seconds.values()):
                label, total = stage.label(configuration), group.median("total_s")
                splits.append(Split(group.settings.stage, label, seconds, total))
    return splits


def recorded(splits: Iterable[Split]) -> list[str]:
    """The phases that any of ``splits`` has."""
    found = {name for split in splits for name, value in split.seconds.items() if value is not None}
    return [name for name in PHASES if name in found]


def phase_table(splits: Sequence[Split]) -> Table:
    """``splits`` as a table with the columns that any of them has."""
    phases = recorded(splits)
    rows = [
        {"configuration": split.label}
        | {name: split.seconds[name] for name in phases}
        | {"total_s": split.total_s}
        for split in splits
    ]
    return Table(
        name="phases",
        title="Phases",
        caption="Median seconds of each phase over the runs of a configuration. "
        "Empty: the stage has no such phase, or did not record it.",
        columns=["configuration", *phases, "total_s"],
        rows=rows,
    )


def phase_bars(stage: str, title: str, splits: Iterable[Split]) -> Drawing:
    """A bar per configuration of ``stage``; of very many the longest, with the most to gain."""
    splits = [split for split in splits if split.stage == stage]
    name = f"phases_{stage}"
    if not splits:
        return Drawing(name, title, "no measured run recorded its phases")
    longest = sorted(splits, key=_in_job, reverse=True)[:MOST_BARS]
    shown = [split for split in splits if split in longest]
    return Drawing(
        name,
        title,
        _describe(shown),
        lambda figure: _draw(figure, title, shown),
        size=(DOUBLE_WIDTH, 1.4 + 0.32 * len(shown)),
        left_out=len(splits) - len(shown),
    )


def _draw(figure: "Figure", title: str, splits: Sequence[Split]) -> None:
    phases = recorded(splits)
    inside = [name for name in phases if name != "queue_s"]
    queued = any(split.seconds["queue_s"] for split in splits)
    # a scale of its own: hours in the queue would leave nothing to be seen of seconds of work
    if queued:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 4))
        _stack(left, splits, ["queue_s"], "waiting in the queue, s")
    else:
        right = figure.subplots()
    _stack(right, splits, inside, "in the job, s (median over the runs)")
    axes = left if queued else right
    axes.set_yticks(range(len(splits)), [plain(split.label, _LABEL) for split in splits])
    axes.invert_yaxis()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.legend(loc="outside lower left", ncols=8, columnspacing=1.2, handlelength=1.0)


def _stack(axes: "Axes", splits: Sequence[Split], phases: Sequence[str], label: str) -> None:
    start = [0.0] * len(splits)
    for name in phases:
        lengths = [split.seconds[name] or 0.0 for split in splits]
        axes.barh(
            range(len(splits)), lengths, left=start, height=0.7, label=_word(name),
            color=COLOURS[name], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        start = [before + length for before, length in zip(start, lengths, strict=True)]
    axes.set_xlabel(label)
    axes.grid(axis="y", visible=False)


def _describe(splits: Sequence[Split]) -> str:
    parts = []
    for split in splits:
        known = [(name, value) for name, value in split.seconds.items() if value]
        parts.append(f"{split.label}: " + ", ".join(f"{_word(n)} {v:.3g}" for n, v in known))
    return "Seconds of each phase by configuration. " + "; ".join(parts) + "."


def _word(phase: str) -> str:
    return phase.removesuffix("_s").replace("_", " ")


def _in_job(split: Split) -> float:
    return sum(value for name, value in split.seconds.items() if value and name != "queue_s")
