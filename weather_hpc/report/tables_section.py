"""The section of tables."""

from weather_hpc.analysis.claims.table import ClaimsTable
from weather_hpc.analysis.grids import is_grid
from weather_hpc.report.collected import Collected
from weather_hpc.report.predictions import PredictionsTable
from weather_hpc.report.section import ReportSection

_ELSEWHERE = ("advice", "devices", "gpus", "prediction_accuracy")
"""Prefixes of the names of tables that other sections have."""


def tables_section(collected: Collected) -> ReportSection:
    """Every table that no other section has."""
    measured = [table for table in collected.comparison.tables if table.rows]
    extras = [table for table in collected.extras if table.rows]
    grids = [table for table in extras if is_grid(table)]
    others = [
        table
        for table in extras
        if table not in grids
        and not isinstance(table, ClaimsTable | PredictionsTable)
        and not table.name.startswith(_ELSEWHERE)
    ]
    parts = (
        ReportSection("grids", "In the study's form", tables=grids),
        ReportSection("analysis", "Further analysis", tables=others),
    )
    return ReportSection(
        "tables",
        "Tables",
        tables=measured,
        parts=[part for part in parts if not part.is_empty],
    )
