"""From folders to everything that can be read off them: the whole way through collect."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather_hpc.paths import StudyPaths


def collect_study(root: Path) -> dict[str, Any]:
    """Collect the results folder ``root`` into itself; see :func:`collect`."""
    return collect([root], root)


def collect(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Read the runs under ``paths`` and write rows, rejects, audit, tables, plots and the report.

    Everything goes into the folder ``out``, under the names of StudyPaths. Returns counts (runs,
    in_tables, rejected, findings by severity), the key findings in words and the paths written,
    JSON-able. Raises UserError where a path does not exist or holds no runs.
    """
    # imported here, because matplotlib and numpy would slow --help
    from weather_hpc.analysis.scaling import preprocess_table, training_table
    from weather_hpc.collect.audit import audit
    from weather_hpc.collect.csv_file import write_csv
    from weather_hpc.collect.duplicates import without_duplicates
    from weather_hpc.collect.find import find_runs
    from weather_hpc.collect.finding import Finding, Severity
    from weather_hpc.collect.read import read_runs
    from weather_hpc.collect.row import ROW_COLUMNS
    from weather_hpc.launch.accounting import refresh_accounting
    from weather_hpc.report.findings import key_findings
    from weather_hpc.report.page import write_page
    from weather_hpc.report.plots import write_plots
    from weather_hpc.report.tables import write_table

    found = find_runs(paths)
    for study in found.plans:
        refresh_accounting(study)
    readings = without_duplicates(list(read_runs(found)))
    rows = [reading.row for reading in readings]
    tables = [preprocess_table(rows), training_table(rows)]
    findings = audit(readings, tables)

    to = StudyPaths(out.absolute())
    rejects = [row for row in rows if row.is_rejected]
    write_csv(to.rows, ROW_COLUMNS, map(dataclasses.asdict, rows))
    write_csv(to.rejects, ["run_id", "status", "reason"], map(dataclasses.asdict, rejects))
    columns = [field.name for field in dataclasses.fields(Finding)]
    write_csv(to.audit, columns, map(dataclasses.asdict, findings))
    for table in tables:
        write_table(to.tables, table)
    plots = write_plots(to.plots, tables)
    write_page(to.report, rows, tables, findings, plots)

    severities = Counter(finding.severity for finding in findings)
    return {
        "runs": len(rows),
        "in_tables": sum(row.table is not None for row in rows),
        "rejected": len(rejects),
        "findings": {str(severity): severities[severity] for severity in Severity},
        "rows": str(to.rows),
        "rejects": str(to.rejects),
        "audit": str(to.audit),
        "tables": [str(to.tables / f"{table.name}.csv") for table in tables],
        "plots": [str(to.plots / f"{plot.name}.svg") for plot in plots if plot.svg is not None],
        "report": str(to.report),
        "key_findings": key_findings(tables, findings),
    }


def tell(summary: dict[str, Any]) -> str:
    """What :func:`collect` returned, in a few lines for a person at a terminal."""
    found = ", ".join(f"{n} {name}" for name, n in summary["findings"].items() if n)
    counted = f"{summary['runs']} runs: {summary['in_tables']} in tables, "
    counted += f"{summary['rejected']} rejected; audit: {found or 'nothing found'}"
    return "\n".join([counted, *summary["key_findings"], f"report: {summary['report']}"])
