"""The plots of a report and their files."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from weather_hpc import cli
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.files import write_bytes, write_text
from weather_hpc.report.curve import Curve, by_batch, by_workers
from weather_hpc.report.device_bars import device_bars
from weather_hpc.report.drawing import Drawing, render
from weather_hpc.report.line_plot import LinePlot
from weather_hpc.report.parts import part_bars
from weather_hpc.report.phases import phase_bars, phase_times
from weather_hpc.report.published import published_speedup
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE, MEASURED


def write_plots(folder: Path, comparison: Comparison, devices: Table) -> list[Drawing]:
    """Draw every plot that has something to show into ``folder``, as .svg and .png.

    ``devices`` is the table that compares devices (:mod:`weather_hpc.analysis.devices`).
    """
    tables = comparison.tables
    drawings = [plot.drawing() for table in tables for plot in _line_plots(table)]
    drawings.append(device_bars(devices))
    drawings.append(published_speedup(tables))
    times = phase_times(comparison)
    for stage in comparison.by_stage:
        title = f"Time of {MEASURED[stage].title.lower()} by phase"
        drawings.append(phase_bars(stage, title, times))
    if Stage.EDA in comparison.by_stage:
        drawings.append(part_bars(comparison.by_stage[Stage.EDA].table))
    plots = []
    with cli.progress("drawing plots", total=len(drawings)) as advance:
        for drawing in drawings:
            plots.append(_write(folder, drawing))
            advance()
    return plots


def _line_plots(table: ScalingTable) -> list[LinePlot]:
    workers = BY_TABLE[table.name].workers_column.replace("_", " ")
    baseline = "no configuration with more than one worker has a baseline"
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
            _without_baselines(by_workers(table, "speedup")),
            baseline,
            ideal=lambda workers: workers,
        ),
        LinePlot(
            f"{table.name}_efficiency",
            f"{table.title}: efficiency",
            workers,
            "efficiency (speedup per worker)",
            _without_baselines(by_workers(table, "efficiency")),
            baseline,
            ideal=lambda workers: 1.0,
            log_y=False,
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


def _without_baselines(curves: Sequence[Curve]) -> list[Curve]:
    """``curves`` without those that are only a baseline, whose speedup is 1 by definition."""
    return [curve for curve in curves if any(point.x > 1 for point in curve.points)]


def remove_old_plots(folder: Path, plots: Iterable[Drawing]) -> None:
    """Remove old files of those of ``plots`` that have nothing to show now."""
    for plot in plots:
        if plot.draw is None:
            (folder / f"{plot.name}.svg").unlink(missing_ok=True)
            (folder / f"{plot.name}.png").unlink(missing_ok=True)


def _write(folder: Path, drawing: Drawing) -> Drawing:
    if drawing.draw is None:
        return drawing
    svg, png = render(drawing.name, drawing.draw, drawing.size)
    write_text(folder / f"{drawing.name}.svg", svg)
    write_bytes(folder / f"{drawing.name}.png", png)
    return replace(drawing, svg=svg)
