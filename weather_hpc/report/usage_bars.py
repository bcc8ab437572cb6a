"""What configurations used of what they asked for, and images for each joule, as bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.statistics import NO_INTERVAL, interval_name, median
from weather_hpc.report.colours import FAINT, INK, colour_of
from weather_hpc.report.drawing import DOUBLE_WIDTH, LONGEST_LABEL, MOST_BARS, Drawing, plain
from weather_hpc.report.usage import Share, Usage
from weather_hpc.text import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL = 2 * LONGEST_LABEL


@dataclass(frozen=True)
class _Kind:
    """What was asked for."""

    title: str
    share: Callable[[Usage], Share | None]
    columns: tuple[str, str]
    """In the table."""
    per: float = 1.0
    unit: str = ""


_KINDS = (
    _Kind("CPUs (of the first node)", lambda usage: usage.cpus, ("cpus_used", "cpus_asked")),
    _Kind("GPUs (of all nodes)", lambda usage: usage.gpus, ("gpus_used", "gpus_asked")),
    _Kind(
        "memory (peak of a node)",
        lambda usage: usage.memory,
        ("memory_peak_mb", "memory_available_mb"),
        1000.0,
        " GB",
    ),
)


def usage_bars(found: Sequence[Usage]) -> Drawing:
    """A bar for each configuration and kind; of more than fit, those that used least."""
    name, title = "used_of_asked", "Used of what was asked for"
    known = [usage for usage in found if any(kind.share(usage) for kind in _KINDS)]
    if not known:
        return Drawing(name, title, "no run recorded what it used of its CPUs, GPUs or memory")
    shown = _least(known)
    kinds = [kind for kind in _KINDS if any(kind.share(usage) for usage in shown)]
    return Drawing(
        name,
        title,
        "Used of what was asked for, by configuration. "
        + "; ".join(_as_text(usage, kinds) for usage in shown)
        + ".",
        lambda figure: _draw(figure, title, shown, kinds),
        size=(DOUBLE_WIDTH, 1.7 + 0.3 * len(shown)),
        left_out=len(known) - len(shown),
        data=_cells(shown, [column for kind in kinds for column in kind.columns]),
    )


def _cells(shown: Sequence[Usage], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The values drawn, as the table has them."""
    rows = [usage.cells for usage in shown]
    return [{column: row[column] for column in ("configuration", *columns)} for row in rows]


def _least(known: Sequence[Usage]) -> list[Usage]:
    """Those that used least of their CPUs or GPUs, in the order of the tables."""

    def least(usage: Usage) -> float:
        shares = [share for kind in _KINDS[:2] if (share := kind.share(usage)) is not None]
        return min((share.percent for share in shares), default=100.0)

    chosen = sorted(known, key=least)[:MOST_BARS]
    return [usage for usage in known if any(usage is one for one in chosen)]


def _as_text(usage: Usage, kinds: Sequence[_Kind]) -> str:
    parts = [
        f"{kind.title.split()[0]} {_words(share, kind)}"
        for kind in kinds
        if (share := kind.share(usage)) is not None
    ]
    return f"{usage.label}: {', '.join(parts)}"


def _words(share: Share, kind: _Kind) -> str:
    return f"{brief(share.used / kind.per)} of {brief(share.asked / kind.per)}{kind.unit}"


def _draw(figure: "Figure", title: str, shown: Sequence[Usage], kinds: Sequence[_Kind]) -> None:
    grid = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        _draw_kind(axes, shown, kind)
    grid[0].set_yticks(range(len(shown)), [plain(usage.label, _LABEL) for usage in shown])
    grid[0].set_ylim(len(shown) - 0.4, -0.6)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)


def _draw_kind(axes: "Axes", shown: Sequence[Usage], kind: _Kind) -> None:
    most = 100.0
    for place, usage in enumerate(shown):
        share = kind.share(usage)
        if share is None:
            axes.text(2, place, "not known", va="center", fontsize=8)
            continue
        most = max(most, share.percent)
        axes.barh(place, 100.0, height=0.7, facecolor="none", edgecolor=FAINT, linewidth=0.8)
        axes.barh(place, share.percent, height=0.7, color=colour_of(usage.method))
        end = max(100.0, share.percent) + 2
        axes.text(end, place, _words(share, kind), va="center", fontsize=8)
    axes.set_xlim(0, most + 40)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("used, % of what was asked for", loc="left")
    axes.set_title(kind.title, fontsize=10)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def energy_bars(found: Sequence[Usage]) -> Drawing:
    """Images for each joule of the GPUs; of more configurations than fit, the most."""
    name, title = "images_per_joule", "Images for each joule of the GPUs"
    known = [usage for usage in found if usage.images_per_j]
    if not known:
        return Drawing(name, title, "no run measured the energy of its GPUs")
    best = sorted(known, key=_middle, reverse=True)[:MOST_BARS]
    shown = [usage for usage in known if any(usage is one for one in best)]
    return Drawing(
        name,
        title,
        "Images for each joule, by configuration. "
        + "; ".join(f"{usage.label}: {brief(_middle(usage))}" for usage in shown)
        + ".",
        lambda figure: _draw_energy(figure, title, shown),
        size=(DOUBLE_WIDTH, 1.5 + 0.3 * len(shown)),
        left_out=len(known) - len(shown),
        data=_cells(shown, ["images_per_j", "images_per_j_low", "images_per_j_high"]),
    )


def _middle(usage: Usage) -> float:
    return median(usage.images_per_j) or 0.0


def _draw_energy(figure: "Figure", title: str, shown: Sequence[Usage]) -> None:
    axes = figure.subplots()
    for place, usage in enumerate(shown):
        value, (low, high) = _middle(usage), usage.images_per_j_interval
        axes.barh(place, value, height=0.7, color=colour_of(usage.method))
        if low is not None and high is not None:
            axes.errorbar(
                value, place, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                color=INK, capsize=3, linewidth=1.2,
            )  # fmt: skip
        axes.annotate(
            brief(value), (max(value, high or 0.0), place), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), [plain(usage.label, _LABEL) for usage in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.grid(axis="y", visible=False)
    fewest = min(len(usage.images_per_j) for usage in shown)
    drawn = any(usage.images_per_j_interval != NO_INTERVAL for usage in shown)
    axes.set_xlabel("images/J, median" + (f" and {interval_name(fewest)}" if drawn else ""))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
