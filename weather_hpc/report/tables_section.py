"""The section of tables."""

from collections import Counter

from weather_hpc.analysis.claims.table import ClaimsTable
from weather_hpc.analysis.grids import is_grid
from weather_hpc.analysis.table import Table
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
        ReportSection(
            "analysis",
            "Further analysis",
            sentences=[_refusals(table) for table in others if _is_refused(table)],
            tables=[table for table in others if not _is_refused(table)],
        ),
    )
    return ReportSection(
        "tables",
        "Tables",
        tables=measured,
        parts=[part for part in parts if not part.is_empty],
    )


def _is_refused(table: Table) -> bool:
    """Whether no row has figures, because no law could be fitted."""
    return all(row.get("refused") for row in table.rows)


def _refusals(table: Table) -> str:
    """Why nothing was fitted, in one sentence; the table's file has the reason of each."""
    reasons = Counter(str(row["refused"]) for row in table.rows)
    ((reason, times),) = reasons.most_common(1)
    often = f" ({times} of {len(table.rows)} times)" if len(reasons) > 1 else ""
    return f"{table.title}, none fitted: {reason}{often}; tables/{table.name}.csv has each."
