"""The section on the sweep: when each run was queued and made, and what it cost."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.gantt import gantt
from weather_hpc.report.section import ReportSection
from weather_hpc.report.timeline import Timeline


def jobs_section(collected: Collected) -> ReportSection:
    """When each run was queued and made, and what it cost."""
    timeline = Timeline.of(collected.comparison)
    return ReportSection("sweep", "The sweep", plots=[gantt(timeline)])
