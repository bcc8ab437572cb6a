"""The section on the use of CPUs, GPUs and memory."""

from dataclasses import replace

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.report.chosen_runs import chosen_runs
from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection
from weather_hpc.report.telemetry_plot import telemetry_plot
from weather_hpc.report.usage import usage_table, usages
from weather_hpc.report.usage_bars import energy_bars, usage_bars
from weather_hpc.report.waste import waste_sentences
from weather_hpc.study.tasks import Device


def utilisation_section(collected: Collected) -> ReportSection:
    """How much of what was asked for was used."""
    comparison = collected.comparison
    found = usages(comparison)
    return ReportSection(
        "utilisation",
        "Utilisation",
        sentences=waste_sentences(found, comparison),
        tables=[usage_table(found)] if found else [],
        plots=[
            replace(
                telemetry_plot(chosen_runs(comparison, trusted=collected.trusted)),
                optional=not comparison.training.configurations,
            ),
            usage_bars(found),
            replace(energy_bars(found), optional=not _on_gpus(comparison)),
        ],
    )


def _on_gpus(comparison: Comparison) -> bool:
    return any(row.device not in (None, Device.CPU) for row in comparison.rows)
