"""CPU, GPU, memory and power of the chosen runs over time, as small multiples."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.report.chosen_runs import ChosenRun
from weather_hpc.report.colours import FAINT, INK, PALETTE, colour_of
from weather_hpc.report.cut_axis import duration_text
from weather_hpc.report.drawing import DOUBLE_WIDTH, Drawing, plain
from weather_hpc.runs.inputs import events, is_seconds
from weather_hpc.runs.telemetry import Sample
from weather_hpc.runs.telemetry_file import read_telemetry
from weather_hpc.text import brief

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_POINTS = 300
"""Points of a line; of longer runs means are drawn."""
_FEW = 20
"""Fewer points are marked."""
_FOREIGN, _OUTSIDE = "other processes", "evaluation or checkpoint"
_ASKED = "CPUs asked for on this node"
_LITTLE = 0.05
"""CPUs of other processes that are not drawn."""
_NARROWEST = 0.002
"""Share of the axis from which a phase is drawn."""

Value = Callable[[Sample], float | None]


@dataclass(frozen=True)
class _Panel:
    """One row of panels."""

    label: str
    value: Value
    column: str
    """What it is called among the plotted values."""
    per: float = 1.0
    """What the value is divided by."""


_CPU = _Panel("CPUs in use", lambda s: s.host_cpu_percent, "cpus_in_use", 100.0)
_OTHERS = _Panel("CPUs of others", lambda s: s.foreign_cpu_percent, "cpus_of_others", 100.0)
_PANELS = (
    _CPU,
    _Panel("GPUs: time with\na kernel, %", lambda s: s.device_use_percent, "gpu_use_percent"),
    _Panel("memory of the\nhost, GB", lambda s: s.host_memory_mb, "host_memory_gb", 1000.0),
    _Panel("memory of the\nGPUs, GB", lambda s: s.device_memory_mb, "gpu_memory_gb", 1000.0),
    _Panel("power of the\nGPUs, W", lambda s: s.device_power_w, "gpu_power_w"),
)


@dataclass(frozen=True)
class _Course:
    """One run's samples since the start of measured time."""

    run: ChosenRun
    samples: tuple[Sample, ...]
    start: float
    """UNIX time, s."""
    outside: tuple[tuple[float, float], ...]
    """When it evaluated or wrote checkpoints, seconds since the start."""

    @property
    def length(self) -> float:
        """Seconds until the last sample, at least 1."""
        return max(1.0, self.samples[-1].at - self.start)

    def line(self, panel: _Panel) -> tuple["Array", "Array"]:
        """Seconds since the start, and means of what ``panel`` shows."""
        import numpy as np

        found = [
            (sample.at - self.start, value / panel.per)
            for sample in self.samples
            if (value := panel.value(sample)) is not None
        ]
        if not found:
            return np.empty(0), np.empty(0)
        xs, ys = (np.asarray(column, dtype=np.float64) for column in zip(*found, strict=True))
        if len(xs) <= _POINTS:
            return xs, ys
        parts = np.array_split(np.arange(len(xs)), _POINTS)
        return (
            np.array([xs[part].mean() for part in parts]),
            np.array([ys[part].mean() for part in parts]),
        )

    def asked(self, panel: _Panel) -> float | None:
        """What the run asked for of what ``panel`` shows; None where not known."""
        return self.run.row.cpus_per_node if panel is _CPU else None

    @property
    def paused(self) -> list[tuple[float, float]]:
        """When it evaluated or wrote checkpoints, as far as that is long enough to be drawn."""
        return [(a, b) for a, b in self.outside if b - a >= _NARROWEST * self.length]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The values drawn: a row for each time, and for each evaluation or checkpoint."""
        by_time: dict[float, dict[str, Any]] = {}
        for panel in (*_PANELS, _OTHERS):
            for at, value in zip(*self.line(panel), strict=True):
                by_time.setdefault(float(at), {})[panel.column] = float(value)
        asked = self.asked(_CPU)
        for at, values in sorted(by_time.items()):
            yield {"run": self.run.title, "seconds": at, **values, "cpus_asked": asked}
        for begin, end in self.paused:
            yield {"run": self.run.title, "seconds": begin, "until_s": end, "phase": _OUTSIDE}

    def most(self, panel: _Panel) -> float:
        """The largest value that ``panel`` shows of it."""
        _, ys = self.line(panel)
        return max(float(ys.max()) if len(ys) else 0.0, self.asked(panel) or 0.0)


def telemetry_plot(runs: Sequence[ChosenRun]) -> Drawing:
    """The load of host and GPUs while ``runs`` were measured: a column for each, a row for each
    quantity that any of them has."""
    name, title = "telemetry", "Load over time"
    courses = [course for run in runs if (course := _course(run)) is not None]
    if not courses:
        return Drawing(name, title, "no run of training recorded the load of its host")
    panels = [
        panel
        for panel in _PANELS
        if any(panel.value(s) is not None for course in courses for s in course.samples)
    ]
    return Drawing(
        name,
        title,
        " ".join(map(_as_text, courses)),
        lambda figure: _draw(figure, title, courses, panels),
        size=(DOUBLE_WIDTH, 1.6 + 1.5 * len(panels)),
        data=[row for course in courses for row in course.rows()],
    )


def _course(run: ChosenRun) -> _Course | None:
    samples = read_telemetry(run.files.telemetry)
    if len(samples) < 2:
        return None
    start, outside = _phases(run, samples[0].at)
    later = tuple(sample for sample in samples if sample.at >= start)
    return _Course(run, later, start, tuple((a - start, b - start) for a, b in outside))


def _phases(run: ChosenRun, first: float) -> tuple[float, list[tuple[float, float]]]:
    """When measured time began, and when the run evaluated or wrote checkpoints, UNIX times.

    Training of an epoch begins where the checkpoint of the one before was written, or where the
    input was ready.
    """
    start, begun = None, None
    outside = []
    for event in events(run.files.events):
        kind, at, took = event.get("event"), event.get("at"), event.get("time_s")
        if not is_seconds(at):
            continue
        if kind == "input":
            begun = at
            start = at if start is None else start
        elif kind == "epoch" and begun is not None and is_seconds(took) and begun + took < at:
            begun += took
            outside.append((begun, at))
            begun = at
        elif kind == "checkpoint" and begun is not None and begun <= at:
            outside.append((begun, at))
            begun = at
    # the first sample covers the second before it
    return (first if start is None or start > first else start), outside


def _draw(
    figure: "Figure", title: str, courses: Sequence[_Course], panels: Sequence[_Panel]
) -> None:
    grid = figure.subplots(len(panels), len(courses), sharex="col", sharey="row", squeeze=False)
    for row, panel in enumerate(panels):
        for column, course in enumerate(courses):
            axes = grid[row][column]
            _draw_panel(axes, course, panel)
            if row == 0:
                words = textwrap.wrap(plain(course.run.title, 200), 140 // len(courses) - 4)
                axes.set_title("\n".join(words), fontsize=9)
            if row == len(panels) - 1:
                axes.set_xlabel("seconds since the start of measured time")
            if column == 0:
                axes.set_ylabel(panel.label, fontsize=9)
        grid[row][0].set_ylim(0, 1.08 * max(course.most(panel) for course in courses) or 1.0)
    for column, course in enumerate(courses):
        grid[0][column].set_xlim(0, course.length)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    named: dict[str, Artist] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(list(named.values()), list(named), loc="outside lower left", ncols=5)


def _draw_panel(axes: "Axes", course: _Course, panel: _Panel) -> None:
    import numpy as np

    colour = colour_of(course.run.row.strategy or "")
    xs, ys = course.line(panel)
    for begin, end in course.paused:
        axes.axvspan(begin, end, color=FAINT, alpha=0.25, linewidth=0, label=_OUTSIDE)
    if panel is _CPU:
        _draw_foreign(axes, course)
    if len(xs):
        if panel is _CPU:  # a sample is the mean since the one before
            xs, ys = np.insert(xs, 0, 0.0), np.insert(ys, 0, ys[0])
        axes.plot(
            xs, ys, color=colour, linewidth=1.4, markersize=3,
            marker=None if panel is _CPU or len(xs) > _FEW else "o",
            drawstyle="steps-pre" if panel is _CPU else "default",
            label="all processes; all GPUs of rank 0",
        )  # fmt: skip
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", fontsize=9)
    asked = course.asked(panel)
    if asked is not None:
        axes.axhline(asked, color=INK, linewidth=1.0, linestyle="--", label=_ASKED)


def _draw_foreign(axes: "Axes", course: _Course) -> None:
    """Shade the part of the CPUs that other processes used, below the line of all."""
    import numpy as np

    xs, everything = course.line(_CPU)
    _, foreign = course.line(_OTHERS)
    if not len(xs) or foreign.max() < _LITTLE:
        return
    xs = np.insert(xs, 0, 0.0)
    everything, foreign = (np.insert(ys, 0, ys[:1]) for ys in (everything, foreign))
    axes.fill_between(
        xs, np.maximum(0.0, everything - foreign), everything, color=PALETTE[4], alpha=0.45,
        linewidth=0, step="pre", label=_FOREIGN,
    )  # fmt: skip


def _as_text(course: _Course) -> str:
    parts = []
    for panel in _PANELS:
        _, ys = course.line(panel)
        if len(ys):
            words = " ".join(panel.label.split())
            parts.append(f"{words} {brief(float(ys.mean()))} on average, {brief(float(ys.max()))} "
                         "at most")  # fmt: skip
    _, foreign = course.line(_OTHERS)
    parts.append(f"other processes used {brief(float(foreign.mean()))} CPUs")
    return f"{course.run.title}, {duration_text(course.length)}: {'; '.join(parts)}."
