"""The section on the use of CPUs, GPUs and memory."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection


def utilisation_section(collected: Collected) -> ReportSection:
    """How much of what was asked for was used."""
    return ReportSection("utilisation", "Utilisation")
