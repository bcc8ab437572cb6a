"""The section on scaling: time, speedup and efficiency against workers."""

from collections.abc import Sequence

from weather_hpc.analysis.devices import measured_devices
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.collected import Collected
from weather_hpc.report.curve import Curve, by_batch, by_workers
from weather_hpc.report.device_bars import device_bars
from weather_hpc.report.line_plot import LinePlot
from weather_hpc.report.section import ReportSection
from weather_hpc.study.stages import BY_TABLE


def scaling_section(collected: Collected) -> ReportSection:
    """How time changes with the number of workers."""
    tables = collected.comparison.tables
    plots = [plot.drawing() for table in tables for plot in line_plots(table)]
    intervals = any(row["time_s_low"] is not None for table in tables for row in table.rows)
    bars = "Bars are intervals over three or more repeats: 95 % from six on, else their range"
    if not intervals:
        bars = "There are no bars: intervals need three repeats or more"
    text = f"{bars}. Points with equal x are drawn side by side. The dotted line is ideal."
    return ReportSection("scaling", "Scaling", text, plots=plots, parts=_devices(collected))


def _devices(collected: Collected) -> list[ReportSection]:
    """The same work on other devices; nothing where one device was measured."""
    title, devices = "Across devices", measured_devices(collected.comparison)
    if table := collected.table("devices"):
        return [ReportSection("devices", title, tables=[table], plots=[device_bars(table)])]
    if len(devices) > 1:
        text = f"No work was measured on more than one of {', '.join(devices)}."
        return [ReportSection("devices", title, sentences=[text])]
    return []


def line_plots(table: ScalingTable) -> list[LinePlot]:
    """Time, speedup and efficiency of ``table`` against workers, and time against batch size."""
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
