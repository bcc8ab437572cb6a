"""The section on the images."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection


def data_section(collected: Collected) -> ReportSection:
    """Which images were measured."""
    return ReportSection("data", "Data")
