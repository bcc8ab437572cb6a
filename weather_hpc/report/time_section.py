"""The section that says where the time went."""

from dataclasses import replace

from weather_hpc.analysis.pop import imbalances, pop_table
from weather_hpc.report.collected import Collected
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.parts import part_bars
from weather_hpc.report.phases import phase_bars, phase_table, phase_times
from weather_hpc.report.section import ReportSection
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import MEASURED


def time_section(collected: Collected) -> ReportSection:
    """Seconds by phase, and the balance of load."""
    comparison = collected.comparison
    times, pop = phase_times(comparison), pop_table(comparison)
    plots: list[Drawing] = []
    for stage, of in comparison.by_stage.items():
        title = f"Time of {MEASURED[stage].title.lower()} by phase"
        bars = phase_bars(stage, title, times)
        plots.append(replace(bars, optional=not of.configurations))
    if Stage.EDA in comparison.by_stage:
        plots.append(part_bars(comparison.by_stage[Stage.EDA].table))
    tables = [table for table in (phase_table(times), pop) if table.rows]
    return ReportSection(
        "phases",
        "Where the time went",
        sentences=imbalances(pop),
        tables=tables,
        plots=plots,
    )
