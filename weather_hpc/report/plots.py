"""Every plot of a report: which there are, and their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weather_hpc import cli
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.files import write_bytes, write_text
from weather_hpc.report.drawing import Drawing, render
from weather_hpc.report.line_plot import Curve, LinePlot, by_batch, by_workers
from weather_hpc.report.phases import phase_bars, phase_splits
from weather_hpc.report.published import published_speedup
from weather_hpc.study.spec import Stage


@dataclass(frozen=True)
class Plot:
    """One figure. ``svg`` is None where there was nothing to show; ``text`` then says why."""

    name: str
    """Of its files, and its id on the page."""
    title: str
    text: str
    """What it shows, for those who do not see it; or why there is none."""
    svg: str | None = None
    left_out: int = 0
    """LinePlot or bars that did not fit."""
    wide: bool = False
    """Whether it takes the whole width of a page."""


def write_plots(folder: Path, comparison: Comparison) -> list[Plot]:
    """Draw every plot that has something to show into ``folder``, as .svg and .png.

    A plot of an earlier collection that now has nothing to show is removed.
    """
    tables = comparison.tables
    drawings = [lines.drawing() for table in tables for lines in _of_table(table)]
    drawings.append(published_speedup(tables))
    splits = phase_splits(comparison)
    drawings.append(phase_bars(Stage.PREPROCESS, "Time of preprocessing by phase", splits))
    drawings.append(phase_bars(Stage.TRAIN, "Time of training by phase", splits))
    plots = []
    with cli.progress("drawing plots", total=len(drawings)) as advance:
        for drawing in drawings:
            plots.append(_write(folder, drawing))
            advance()
    return plots


def _of_table(table: ScalingTable) -> list[LinePlot]:
    workers = "workers" if table.name == "preprocess" else "world size"
    baseline = "no configuration of more than one worker has a baseline to be compared with"
    plots = [
        LinePlot(
            f"{table.name}_time",
            f"{table.title}: time",
            workers,
            "time, s",
            by_workers(table, "time_s"),
            "no run was measured",
        ),
        LinePlot(
            f"{table.name}_speedup",
            f"{table.title}: speedup",
            workers,
            "speedup",
            _parallel(by_workers(table, "speedup")),
            baseline,
            ideal=lambda workers: workers,
        ),
        LinePlot(
            f"{table.name}_efficiency",
            f"{table.title}: efficiency",
            workers,
            "efficiency (speedup per worker)",
            _parallel(by_workers(table, "efficiency")),
            baseline,
            ideal=lambda workers: 1.0,
            doubling=False,
        ),
    ]
    if table.name == "training":
        batch = LinePlot(
            "training_batch",
            "Training: time by batch size",
            "batch size per device",
            "time, s",
            by_batch(table),
            "no configuration was measured with more than one batch size",
        )
        plots.append(batch)
    return plots


def _parallel(series: Sequence[Curve]) -> list[Curve]:
    """Without the lines that are nothing but a baseline, which is 1 by itself."""
    return [line for line in series if any(point[0] > 1 for point in line.points)]


def _write(folder: Path, drawing: Drawing) -> Plot:
    svg_file, png_file = folder / f"{drawing.name}.svg", folder / f"{drawing.name}.png"
    if drawing.draw is None:
        svg_file.unlink(missing_ok=True)
        png_file.unlink(missing_ok=True)
        return Plot(drawing.name, drawing.title, drawing.text)
    svg, png = render(drawing.name, drawing.draw, drawing.size)
    write_text(svg_file, svg)
    write_bytes(png_file, png)
    return Plot(drawing.name, drawing.title, drawing.text, svg, drawing.left_out, drawing.wide)
