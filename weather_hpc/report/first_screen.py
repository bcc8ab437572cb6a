"""The first screen: whether to trust the numbers, the most important ones, two plots."""

from weather_hpc.report.collected import Collected
from weather_hpc.report.findings import key_findings
from weather_hpc.report.provenance import overview
from weather_hpc.report.section import FirstScreen


def first_screen(collected: Collected) -> FirstScreen:
    """What stands above everything else."""
    comparison = collected.comparison
    subject = "; ".join(f"{label.lower()}: {text}" for label, text in overview(comparison.rows))
    sentences = key_findings(comparison, collected.findings, collected.sentences)
    return FirstScreen(subject, sentences=sentences or ["No run was measured."])
