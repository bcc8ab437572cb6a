"""The ratios across devices as bars."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.devices import Kind
from weather_hpc.analysis.table import Table
from weather_hpc.report.colours import INK, PALETTE
from weather_hpc.report.drawing import (
    DOUBLE_WIDTH,
    LONGEST_LABEL,
    MOST_BARS,
    Drawing,
    plain,
)
from weather_hpc.text import brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, TITLE = "devices", "Times as fast as the same work on another device"
_COLOURS = {str(Kind.SAME): PALETTE[0], str(Kind.BEST): PALETTE[1]}
_COLUMNS = (
    "kind", "configuration", "device", "against", "against_device", "against_threads", "ratio",
    "ratio_low", "ratio_high",
)  # fmt: skip
"""What is drawn, of the table."""
_LABEL = 2 * LONGEST_LABEL
"""Characters of a bar's label, in a wide figure."""


def device_bars(devices: Table) -> Drawing:
    """A bar for each ratio, from 1; of more than fit, the best of each and the first others."""
    rows = [row for row in devices.rows if row["ratio"]]
    if not rows:
        return Drawing(NAME, TITLE, "no work was measured on two devices")
    kept = sorted(rows, key=lambda row: row["kind"] != Kind.BEST)[:MOST_BARS]
    shown = [row for row in rows if any(row is one for one in kept)]
    return Drawing(
        NAME,
        TITLE,
        _as_text(shown),
        lambda figure: _draw(figure, shown),
        size=(DOUBLE_WIDTH, 1.6 + 0.45 * len(shown)),
        left_out=len(rows) - len(shown),
        data=[{column: row[column] for column in _COLUMNS} for row in shown],
    )


def _draw(figure: "Figure", rows: Sequence[dict[str, Any]]) -> None:
    axes = figure.subplots()
    for kind, colour in _COLOURS.items():
        of = [(place, row) for place, row in enumerate(rows) if row["kind"] == kind]
        if not of:
            continue
        ratios = [row["ratio"] for _, row in of]
        # a ratio without an interval has a bar of length 0
        below = [row["ratio"] - (row["ratio_low"] or row["ratio"]) for _, row in of]
        above = [(row["ratio_high"] or row["ratio"]) - row["ratio"] for _, row in of]
        axes.barh(
            [place for place, _ in of], [ratio - 1 for ratio in ratios], left=1.0, height=0.7,
            xerr=[[max(0.0, value) for value in part] for part in (below, above)], label=kind,
            color=colour, ecolor=INK, capsize=3,
        )  # fmt: skip
    axes.axvline(1.0, color=INK, linewidth=1.0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
    axes.set_yticks(range(len(rows)), [_two_lines(row) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("times as fast (medians of time; weak scaling: of images per second)")
    figure.suptitle(TITLE, x=0.01, ha="left", fontsize=12)
    figure.legend(loc="outside lower left", ncols=2)


def _two_lines(row: dict[str, Any]) -> str:
    """The label, each configuration on a line of its own."""
    return "\n/ ".join(plain(part, _LABEL) for part in _label(row).split(" / "))


def _label(row: dict[str, Any]) -> str:
    """Both configurations; of one that differs in the device only, the device and its threads."""
    if row["kind"] == Kind.BEST:
        return f"{row['configuration']} / {row['against']}"
    threads = row["against_threads"]
    against = row["against_device"] + (f", threads {threads}" if threads else "")
    return f"{row['configuration']} / {against}"


def _as_text(rows: Sequence[dict[str, Any]]) -> str:
    parts = [f"{_label(row)} ({row['kind']}): {brief(row['ratio'])}" for row in rows]
    return "Times as fast, by configuration and what it is compared with. " + "; ".join(parts) + "."
