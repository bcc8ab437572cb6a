"""Horizontal stacked bars: seconds of several kinds, one bar per configuration."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from weather_hpc.report.colours import PAPER
from weather_hpc.report.drawing import plain
from weather_hpc.text import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR_HEIGHT = 0.26
"""Of one bar with its gap, inches."""
_TOLD_FROM = 0.1
"""Shares from here on have their percentage written into the bar."""
_ON_BARS = "#ffffff"


def stack_bars(
    axes: "Axes", bars: Sequence[Mapping[str, float | None]], colours: Mapping[str, str]
) -> None:
    """A horizontal bar for each of ``bars``: seconds by column, stacked in the order of
    ``colours``."""
    start = [0.0] * len(bars)
    for name, colour in colours.items():
        lengths = [seconds.get(name) or 0.0 for seconds in bars]
        axes.barh(
            range(len(bars)), lengths, left=start, height=0.72, label=seconds_of(name),
            color=colour, edgecolor=PAPER, linewidth=0.6,
        )  # fmt: skip
        start = [before + length for before, length in zip(start, lengths, strict=True)]
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.01)


def share_bars(
    axes: "Axes", bars: Sequence[Mapping[str, float | None]], colours: Mapping[str, str]
) -> None:
    """The same as shares of each bar, in percent."""
    shares = []
    for seconds in bars:
        known = {name: seconds.get(name) or 0.0 for name in colours}
        total = sum(known.values()) or 1.0
        shares.append({name: 100 * value / total for name, value in known.items()})
    stack_bars(axes, shares, colours)
    axes.set_xlim(0, 100)
    for place, of in enumerate(shares):
        start = 0.0
        for share in of.values():
            if share >= 100 * _TOLD_FROM:
                axes.text(
                    start + share / 2, place, f"{share:.0f}", ha="center", va="center",
                    fontsize=8, color=_ON_BARS,
                )  # fmt: skip
            start += share


def label_bars(figure: "Figure", axes: "Axes", title: str, labels: Sequence[str]) -> None:
    """Name the bars in ``axes`` of ``figure``, the first on top, and add title and legend."""
    axes.set_yticks(range(len(labels)), [plain(label) for label in labels])
    axes.invert_yaxis()
    figure.suptitle(title, x=0.01, ha="left")
    handles, names = [], []
    for one in figure.axes:
        for handle, name in zip(*one.get_legend_handles_labels(), strict=True):
            if name not in names:
                handles.append(handle)
                names.append(name)
    figure.legend(
        handles, names, loc="outside lower left", ncols=8, columnspacing=1.2, handlelength=1.0
    )


def bars_as_text(bars: Iterable[tuple[str, Mapping[str, float | None]]]) -> str:
    """Labels and seconds of ``bars``, for readers who do not see them."""
    parts = []
    for label, seconds in bars:
        known = [(name, value) for name, value in seconds.items() if value]
        parts.append(f"{label}: " + ", ".join(f"{seconds_of(n)} {brief(v)}" for n, v in known))
    return "; ".join(parts) + "."


_WORDS = {"startup": "start-up", "warmup": "warm-up"}


def seconds_of(column: str) -> str:
    """What the seconds in ``column`` were spent on: ``data wait`` of ``data_wait_s``."""
    name = column.removesuffix("_s")
    return _WORDS.get(name, name.replace("_", " "))
