"""Every sentence of the analysis that is no headline."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.findings import key_findings
from weather_hpc.report.section import ReportSection


def more_section(collected: Collected) -> ReportSection:
    """What was fastest, scaled best, helped or not, with what doubt; why runs are in no table."""
    sentences = key_findings(collected.comparison, collected.findings, collected.sentences)
    return ReportSection("more", "All findings in sentences", sentences=sentences)
