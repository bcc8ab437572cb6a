"""The sweep in time: a bar per run, or how many ran where there are too many."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.report.colours import FAINT, INK, colour_of
from weather_hpc.report.cut_axis import NARROWEST, CutAxis, date_text, duration_text
from weather_hpc.report.drawing import DOUBLE_WIDTH, LONGEST_LABEL, Drawing, plain
from weather_hpc.report.run_counts import RunCounts
from weather_hpc.report.span_parts import REST, STARTING, WAITING, method_of, parts
from weather_hpc.report.timeline import Line, Span, Timeline
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Row
from weather_hpc.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 60
"""Lines of the plot: of runs where there are no more, else of configurations, else of methods."""
_MOST_BARS = 800
"""With more runs, how many waited and ran is drawn."""
_HEIGHT = 0.76
"""Of a line's bars; lines are 1 apart."""
_INCHES, _INCHES_OF_LANE, _TALLEST = 0.19, 0.04, 12.5
"""Between two lines; more for each run beside others in a line; of all lines at most."""
_LABEL = 2 * LONGEST_LABEL
_MEASURED = "measured time (colour: the method)"
_ENDS = {
    Status.FAILED: ("X", "failed"),
    Status.TIMEOUT: ("s", "time limit"),
    Status.OUT_OF_MEMORY: ("P", "out of memory"),
    Status.NODE_FAIL: ("D", "node failure"),
    Status.PREEMPTED: ("v", "preempted"),
    Status.CANCELLED: ("d", "cancelled"),
}
"""How a run ended that did not succeed: marker and words."""
_BAD = "#d0453f"


@dataclass(frozen=True)
class _Bar:
    """A part of a run's bar: places on the axis and in y."""

    kind: str
    """A method, or one of the kinds above."""
    left: float
    right: float
    middle: float
    height: float


def how_ended(status: str) -> str:
    """In words, how a run ended that did not succeed."""
    return _ENDS[Status(status)][1]


def gantt(timeline: Timeline) -> Drawing:
    """The sweep in time."""
    name, title = "sweep", "The sweep in time"
    if not timeline.configurations:
        return Drawing(name, title, "when the runs were made is not known")
    lines = _lines(timeline)
    axis = CutAxis(timeline.sessions)
    many = len(timeline.spans) > _MOST_BARS
    counts = RunCounts.of(lines, axis, timeline.now) if many else None
    return Drawing(
        name,
        title,
        _as_text(timeline, lines),
        lambda figure: _draw(figure, title, timeline, lines, axis, counts),
        size=(DOUBLE_WIDTH, 1.7 + _inches(lines, timeline.now) * max(4, len(lines))),
        data=list(counts.rows(axis, timeline.first) if counts else _rows(timeline)),
    )


def _rows(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """The ends of each run's parts, seconds since the first submission or start; and how it
    ended."""
    for line in timeline.configurations:
        for span in line.spans:
            times = {
                "submitted_s": span.submitted, "started_s": span.start, "ready_s": span.ready,
                "measured_until_s": span.measured, "ended_s": span.end,
            }  # fmt: skip
            row = span.row
            yield {
                "stage": line.stage, "configuration": line.label, "run_id": row.run_id,
                **{name: None if t is None else t - timeline.first for name, t in times.items()},
                "status": row.status, "restarts": row.restarts,
            }  # fmt: skip


def _inches(lines: Sequence[Line], now: float) -> float:
    """Between two lines: more where runs of one line are drawn beside each other."""
    if sum(len(line.spans) for line in lines) > _MOST_BARS:
        return 2 * _INCHES
    lanes = max(len(line.lanes(now)) for line in lines)
    most = max(_INCHES, _TALLEST / len(lines))
    return min(_INCHES + _INCHES_OF_LANE * (lanes - 1), most)


def _lines(timeline: Timeline) -> list[Line]:
    """A line for each run, or if these are too many for each configuration, or each method."""
    found = list(timeline.configurations)
    if len(timeline.spans) <= MOST_LINES:
        return [
            Line(line.stage, _repeat(span.row) if number else line.label, (span,))
            for line in found
            for number, span in enumerate(sorted(line.spans, key=_repeat_number))
        ]
    if len(found) <= MOST_LINES:
        return found
    for named in (_method_and_size, method_of):
        groups: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for line in found:
            for span in line.spans:
                groups[line.stage, named(span.row)].append(span)
        if len(groups) <= MOST_LINES:
            break
    return [
        Line(stage, label, tuple(sorted(spans, key=lambda span: span.first)))
        for (stage, label), spans in list(groups.items())[:MOST_LINES]
    ]


def _repeat_number(span: Span) -> tuple[int, float]:
    return span.row.repeat or 0, span.first


def _repeat(row: Row) -> str:
    return "again" if row.repeat is None else f"repeat {row.repeat}"


def _method_and_size(row: Row) -> str:
    device = f" on {row.device}" if row.device else ""
    return f"{method_of(row)}{device}, {counted(row.workers, 'rank' if row.strategy else 'worker')}"


def _draw(
    figure: "Figure",
    title: str,
    timeline: Timeline,
    lines: Sequence[Line],
    axis: CutAxis,
    counts: RunCounts | None,
) -> None:
    axes = figure.subplots()
    if counts is None:
        bars, marks = _bars(timeline, lines, axis)
        _draw_bars(axes, bars)
        _draw_marks(axes, marks)
    else:
        _draw_counts(axes, timeline, counts, axis)
    _draw_axes(axes, lines, axis)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.legend(loc="outside lower left", ncols=8, columnspacing=1.2, handlelength=1.2)


Mark = tuple[float, float, str, str]
"""Place, place in y, marker and words."""


def _bars(
    timeline: Timeline, lines: Sequence[Line], axis: CutAxis
) -> tuple[list[_Bar], list[Mark]]:
    bars, marks = [], []
    for number, line in enumerate(lines):
        lanes = line.lanes(timeline.now)
        height = _HEIGHT / len(lanes)
        for lane, spans in enumerate(lanes):
            middle = number + _HEIGHT * ((lane + 0.5) / len(lanes) - 0.5)
            for span in spans:
                for kind, left, right in parts(span, timeline.now):
                    bars.append(_Bar(kind, axis.place(left), axis.place(right), middle, height))
                end = axis.place(span.last(timeline.now))
                if span.row.status in _ENDS:
                    marks.append((end, middle, *_ENDS[Status(span.row.status)]))
                elif span.open:
                    marks.append((end, middle, ">", "not ended"))
                if span.row.restarts and span.start is not None:
                    marks.append((axis.place(span.start), middle, "|", "restarted"))
    return bars, marks


def _draw_bars(axes: "Axes", bars: Sequence[_Bar]) -> None:
    from matplotlib.collections import PolyCollection

    by_kind: dict[str, list[_Bar]] = {WAITING: [], STARTING: []}
    for bar in bars:
        if bar.right > bar.left:
            by_kind.setdefault(bar.kind, []).append(bar)
    by_kind[REST] = by_kind.pop(REST, [])
    named = False
    for kind, found in by_kind.items():
        if not found:
            continue
        corners = [
            [
                (bar.left, bar.middle - bar.height / 2),
                (bar.right, bar.middle - bar.height / 2),
                (bar.right, bar.middle + bar.height / 2),
                (bar.left, bar.middle + bar.height / 2),
            ]
            for bar in found
        ]
        own = kind in (WAITING, STARTING, REST)
        words = kind if own else None if named else _MEASURED
        named = named or not own
        axes.add_collection(PolyCollection(corners, label=words, **_style(kind)))


def _style(kind: str) -> dict[str, Any]:
    """How bars of ``kind`` look: outlines keep the pale ones visible."""
    if kind == WAITING:
        return {"facecolor": (*_rgb(FAINT), 0.25), "edgecolor": FAINT, "linewidth": 0.3}
    if kind == STARTING:
        return {"facecolor": FAINT, "edgecolor": "none"}
    if kind == REST:
        return {"facecolor": "none", "edgecolor": FAINT, "linewidth": 0.5, "hatch": "//////"}
    return {"facecolor": colour_of(kind), "edgecolor": "none"}


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _draw_marks(axes: "Axes", marks: Sequence[Mark]) -> None:
    by_words: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        by_words[mark[3]].append(mark)
    for words, found in by_words.items():
        colour = INK if words in ("restarted", "not ended") else _BAD
        axes.plot(
            [mark[0] for mark in found], [mark[1] for mark in found], found[0][2], color=colour,
            markersize=6, linestyle="none", label=words, clip_on=False, zorder=4,
        )  # fmt: skip


def _draw_counts(axes: "Axes", timeline: Timeline, counts: RunCounts, axis: CutAxis) -> None:
    """How many runs of each line waited and ran, as heights; the most of all lines fill one."""
    most = counts.most
    scale = f"number, a line is {most:.0f} high"
    for number, (line, queued, under_way) in enumerate(counts.lines):
        base = number + _HEIGHT / 2
        colour = colour_of(method_of(line.spans[0].row))
        for values, style, words in (
            (queued, _style(WAITING), f"{WAITING} ({scale})"),
            (under_way, {"facecolor": colour}, f"running ({scale}; colour: the method)"),
        ):
            if values.any():
                axes.stairs(
                    base - _HEIGHT * values / most, counts.edges, baseline=base, fill=True,
                    label=words if number == 0 else None, **style,
                )  # fmt: skip
    lines = [line for line, *_ in counts.lines]
    _draw_marks(axes, _failures(timeline, lines, axis, float(counts.edges[1])))


def _failures(timeline: Timeline, lines: Sequence[Line], axis: CutAxis, width: float) -> list[Mark]:
    """A mark where runs of a line failed, however many."""
    places = {
        (round(axis.place(span.last(timeline.now)) / width) * width, number + _HEIGHT / 2)
        for number, line in enumerate(lines)
        for span in line.spans
        if span.row.status in _ENDS
    }
    return [(*place, "|", "failed, cancelled or out of time") for place in sorted(places)]


def _draw_axes(axes: "Axes", lines: Sequence[Line], axis: CutAxis) -> None:
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(0, axis.length)
    axes.set_yticks(range(len(lines)), [plain(line.label, _LABEL) for line in lines], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    _head_stages(axes, lines, axis)
    for place, seconds in axis.pauses:
        for edge in (place - axis.gap / 2, place + axis.gap / 2):
            axes.axvline(edge, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        if axis.gap < NARROWEST * axis.length:
            continue
        axes.text(
            place, len(lines) / 2 - 0.5, f"nothing for {duration_text(seconds)}", rotation=90,
            ha="center", va="center", fontsize=8,
        )  # fmt: skip
    places, labels, unit = axis.ticks()
    axes.set_xticks(places, labels)
    since = "the first submission or start" if len(axis.sessions) == 1 else "each date above"
    axes.set_xlabel(f"{unit} since {since}")
    shown: list[float] = []
    dates = axes.secondary_xaxis("top")
    for place in axis.starts:
        if not shown or place - shown[-1] > 0.14 * axis.length:
            shown.append(place)
    by_place = dict(zip(axis.starts, axis.sessions, strict=True))
    dates.set_xticks(shown, [date_text(by_place[place][0]) for place in shown], ha="left")
    dates.spines["top"].set_visible(False)


def _head_stages(axes: "Axes", lines: Sequence[Line], axis: CutAxis) -> None:
    """Separate the stages by a line, and name each beside its first line."""
    for number, line in enumerate(lines):
        if number and line.stage == lines[number - 1].stage:
            continue
        if number:
            axes.axhline(number - 0.5, color=FAINT, linewidth=0.8)
        axes.annotate(
            plain(line.stage), (1.0, number), xycoords=("axes fraction", "data"), ha="left",
            va="center", fontsize=8, fontweight="bold", xytext=(6, 0), textcoords="offset points",
            annotation_clip=False,
        )  # fmt: skip


def _as_text(timeline: Timeline, lines: Sequence[Line]) -> str:
    """Where each line is in time, for readers who do not see it."""
    first = timeline.first
    parts = []
    for line in lines:
        end = max(span.last(timeline.now) for span in line.spans)
        begin = min(span.first for span in line.spans)
        bad = [_ENDS[Status(s.row.status)][1] for s in line.spans if s.row.status in _ENDS]
        parts.append(
            f"{line.label}: {counted(len(line.spans), 'run')}, {duration_text(begin - first)} to "
            f"{duration_text(end - first)}" + (f" ({', '.join(sorted(set(bad)))})" if bad else "")
        )
    return (
        f"Times since the first submission or start, {date_text(first)}. " + "; ".join(parts) + "."
    )
