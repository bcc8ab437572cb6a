"""The section on scaling: time, speedup and efficiency against workers."""

from collections.abc import Sequence
from dataclasses import replace

from weather_hpc.analysis.devices import measured_devices
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.collected import Collected
from weather_hpc.report.curve import Curve, batch_of, by_batch, by_workers, hollow
from weather_hpc.report.device_bars import device_bars
from weather_hpc.report.line_plot import LinePlot
from weather_hpc.report.others import OtherValue, other_curves, published_values
from weather_hpc.report.scaling_sentences import scaling_sentences
from weather_hpc.report.section import ReportSection
from weather_hpc.study.spec import Scaling
from weather_hpc.study.stages import BY_TABLE

_BARS = "Bars are intervals over three or more repeats: 95 % from six on, else their range."
_HOLLOW = "Hollow points are from elsewhere ({}), also for sizes that were not measured here."


def scaling_section(collected: Collected) -> ReportSection:
    """How time changes with the number of workers."""
    parts = []
    for weak in (False, True):
        for table in collected.comparison.tables:
            rows = [row for row in table.rows if (row["scaling"] == Scaling.WEAK) == weak]
            if rows:
                parts.append(_part(replace(table, rows=rows), collected.reference, weak))
    parts = [part for part in parts if not part.is_empty]
    return ReportSection("scaling", "Scaling", parts=[*parts, *_devices(collected)])


def _part(table: ScalingTable, reference: Sequence[OtherValue], weak: bool) -> ReportSection:
    """One stage, strong or weak scaling."""
    plots = line_plots(table, () if weak else [*published_values(), *reference], weak=weak)
    curves = [curve for plot in plots for curve in plot.curves]
    texts = ["The same images per worker: ideal is a constant time."] if weak else []
    if any(point.low is not None for curve in curves for point in curve.drawn):
        texts.append(_BARS)
    if origins := hollow(curves):
        texts.append(_HOLLOW.format("; ".join(origins)))
    return ReportSection(
        f"scaling-{table.name}" + ("-weak" if weak else ""),
        f"{table.title}, weak scaling" if weak else table.title,
        " ".join(texts),
        sentences=scaling_sentences(table),
        plots=[plot.drawing() for plot in plots],
    )


def _devices(collected: Collected) -> list[ReportSection]:
    """The same work on other devices; nothing where one device was measured."""
    title, devices = "Across devices", measured_devices(collected.comparison)
    if table := collected.table("devices"):
        return [ReportSection("devices", title, tables=[table], plots=[device_bars(table)])]
    if len(devices) > 1:
        text = f"No work was measured on more than one of {', '.join(devices)}."
        return [ReportSection("devices", title, sentences=[text])]
    return []


def line_plots(
    table: ScalingTable, others: Sequence[OtherValue] = (), *, weak: bool = False
) -> list[LinePlot]:
    """Speedup, efficiency and time of ``table`` against workers, and time against batch size."""
    name = f"{table.name}_weak" if weak else table.name
    title = f"{table.title}, weak scaling" if weak else table.title
    workers = f"{BY_TABLE[table.name].worker}s"
    baseline = "no configuration with more than one worker has a baseline"
    alone = all(table.workers(row) == 1 for row in table.rows)

    def curves(column: str) -> list[Curve]:
        found = by_workers(table, column)
        if column != "time_s":
            found = _without_baselines(found)
        return [*found, *other_curves(others, table, column)] if found else []

    plots = [
        LinePlot(
            f"{name}_speedup",
            f"{title}: speedup",
            workers,
            "speedup",
            curves("speedup"),
            baseline,
            "speedup",
            alone,
            ideal=lambda workers: workers,
            lost_below=1.0,
        ),
        LinePlot(
            f"{name}_efficiency",
            f"{title}: efficiency",
            workers,
            "efficiency (speedup per worker)",
            curves("efficiency"),
            baseline,
            "efficiency",
            alone,
            ideal=lambda workers: 1.0,
            log_y=False,
        ),
        LinePlot(
            f"{name}_time",
            f"{title}: time",
            workers,
            "time, s",
            curves("time_s"),
            "no run was measured",
            "time_s",
        ),
    ]
    if table.name == "training":
        batch = LinePlot(
            f"{name}_batch",
            f"{title}: time by batch size",
            "batch size",
            "time, s",
            by_batch(table),
            "no configuration was measured with more than one batch size",
            "time_s",
            len({batch_of(row) for row in table.rows} - {None}) < 2,
        )
        plots.append(batch)
    return plots


def _without_baselines(curves: Sequence[Curve]) -> list[Curve]:
    """``curves`` without those that are only a baseline, whose speedup is 1 by definition."""
    return [curve for curve in curves if any(point.x > 1 for point in curve.points)]
