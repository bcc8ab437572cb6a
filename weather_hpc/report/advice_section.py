"""The section that says what to run."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection


def advice_section(collected: Collected) -> ReportSection:
    """Which configurations to choose, for which purpose."""
    tables = [t for t in collected.extras if t.rows and t.name.startswith("advice")]
    return ReportSection("advice", "What to run", tables=tables)
