"""The section on learning."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection


def learning_section(collected: Collected) -> ReportSection:
    """Loss and accuracy by epoch and by time, and the mistakes of the trained networks."""
    return ReportSection("learning", "Learning")
