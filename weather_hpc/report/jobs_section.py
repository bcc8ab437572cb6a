"""The section on the sweep: when each run was queued and made, and what it cost."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection


def jobs_section(collected: Collected) -> ReportSection:
    """When each run was queued and made, and what it cost."""
    return ReportSection("sweep", "The sweep")
