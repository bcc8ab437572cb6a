"""The content of a report, section by section, whatever the format."""

from collections.abc import Callable, Sequence

from weather_hpc.analysis.pop import pop_table
from weather_hpc.report.advice_section import advice_section
from weather_hpc.report.collected import Collected
from weather_hpc.report.data_section import data_section
from weather_hpc.report.findings import audit_section
from weather_hpc.report.first_screen import first_screen
from weather_hpc.report.jobs_section import jobs_section
from weather_hpc.report.learning import learning_section
from weather_hpc.report.more_section import more_section
from weather_hpc.report.phases import phase_table, phase_times
from weather_hpc.report.predictions import predictions_section
from weather_hpc.report.provenance import distinct, provenance_section
from weather_hpc.report.published import published_section, published_table
from weather_hpc.report.row_details import row_details
from weather_hpc.report.scaling import scaling_section
from weather_hpc.report.section import Report, ReportSection
from weather_hpc.report.tables_section import tables_section
from weather_hpc.report.time_section import time_section
from weather_hpc.report.utilisation import utilisation_section

SECTIONS: Sequence[Callable[[Collected], ReportSection]] = (
    advice_section,
    scaling_section,
    time_section,
    utilisation_section,
    learning_section,
    predictions_section,
    jobs_section,
    data_section,
    tables_section,
    more_section,
    published_section,
    audit_section,
    provenance_section,
)
"""In the order of the page."""


def report_of(collected: Collected) -> Report:
    """The report of a collection, its plots not yet drawn."""
    sections = [section(collected) for section in SECTIONS]
    comparison = collected.comparison
    filled = [section for section in sections if not section.is_empty]
    empty = [section.title for section in sections if section.is_empty and not section.optional]
    undrawn = [
        plot.title
        for section in filled
        for part in section.all_parts
        for plot in part.plots
        if plot.draw is None and not plot.optional
    ]
    studies = distinct(row.study for row in comparison.rows)
    own = [
        published_table(comparison.tables),
        phase_table(phase_times(comparison)),
        pop_table(comparison),
    ]
    known = {table.name for table in (*comparison.tables, *collected.extras, *own)}
    own += [
        table
        for section in filled
        for part in section.all_parts
        for table in part.tables
        if table.name not in known and table.name not in part.files
    ]
    return Report(
        f"Scaling report: {studies or 'no study'}",
        first_screen(collected),
        filled,
        left_out=[*empty, *undrawn],
        details=row_details(collected),
        own_tables=own,
    )
