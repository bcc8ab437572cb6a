"""report.html: one page that needs nothing but itself."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.collect.finding import Finding
from weather_hpc.collect.row import Row
from weather_hpc.files import write_text
from weather_hpc.report.findings import key_findings
from weather_hpc.report.phases import COLOURS, phase_splits, recorded
from weather_hpc.report.plots import Plot
from weather_hpc.report.style import INK
from weather_hpc.report.tables import constants, readable_columns
from weather_hpc.report.text import shown, significant

_INTERVALS = {"time_s", "speedup"}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    text: str
    sort: float | str
    number: bool


def write_page(
    path: Path,
    rows: Sequence[Row],
    tables: Sequence[ScalingTable],
    findings: Sequence[Finding],
    plots: Sequence[Plot],
) -> None:
    """Write the report to ``path``. Whatever a record says appears as text, never as markup."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    splits = phase_splits(rows)
    template = files("weather_hpc.report") / "templates" / "report.html.j2"
    page = environment.from_string(template.read_text("utf-8")).render(
        studies=_distinct(row.study for row in rows),
        overview=_overview(rows),
        key_findings=key_findings(tables, findings),
        tables=[_table(table) for table in tables if table.rows],
        # an SVG is our own drawing, in which matplotlib has escaped every label
        plots=[(plot, Markup(_inline(plot))) for plot in plots if plot.svg],  # noqa: S704
        missing_plots=[plot for plot in plots if not plot.svg],
        phases=recorded(splits),
        colours=COLOURS,
        splits=splits,
        findings=findings,
        rejects=[row for row in rows if row.is_rejected],
        provenance=_provenance(rows),
        significant=significant,
    )
    write_text(path, page)


def _table(table: Table) -> dict[str, Any]:
    """``table`` for the template: an interval stands in its value's cell."""
    columns = [c for c in readable_columns(table) if not c.endswith(("_low", "_high"))]
    return {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "constants": constants(table),
        "columns": columns,
        "rows": [[_cell(row, column) for column in columns] for row in table.rows],
    }


def _cell(row: dict[str, Any], column: str) -> Cell:
    value = row[column]
    text = shown(column, value)
    if column in _INTERVALS and row[f"{column}_low"] is not None:
        low, high = (shown(column, row[f"{column}_{end}"]) for end in ("low", "high"))
        text = f"{text} ({low}–{high})"
    number = isinstance(value, int | float)
    return Cell(text, "" if value is None else value, number)


def _inline(plot: Plot) -> str:
    """The plot's <svg> for the page: its ids made unique there, its ink the text's colour."""
    svg = (plot.svg or "").partition("<svg")
    text = svg[1] + svg[2]
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{plot.name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-labelledby="{plot.name}-text"', 1)


def _overview(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What was measured, as label and text."""
    statuses = Counter(row.status for row in rows)
    started = sorted(row.started_at for row in rows if row.started_at)
    facts = [
        ("Runs", ", ".join(f"{n} {status}" for status, n in statuses.most_common())),
        ("In tables", str(sum(row.table is not None for row in rows))),
        ("Images", _images(rows)),
        ("Image folder", _distinct(row.data for row in rows)),
        ("Scaling", _distinct(row.scaling for row in rows)),
        ("Measured", f"{started[0]} to {started[-1]}" if started else ""),
    ]
    return [(label, text) for label, text in facts if text]


def _images(rows: Iterable[Row]) -> str:
    counts = sorted({row.images for row in rows if row.stage == "preprocess" and row.images})
    sizes = sorted({row.image_size_px for row in rows if row.image_size_px})
    side = " and ".join(f"{size} × {size} pixels" for size in sizes)
    if not counts:
        return f"stored at {side}" if side else ""
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{number}, stored at {side}"


def _provenance(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Where the figures come from; several values where runs differ."""
    commits = {f"{r.commit}{' with changes' if r.dirty else ''}" for r in rows if r.commit}
    packages = {p for r in rows if r.packages for p in r.packages.split("; ")}
    facts = [
        ("Commit of weather_hpc", _distinct(commits)),
        ("Hosts", _distinct(row.host for row in rows)),
        ("CPU", _distinct(row.cpu_model for row in rows)),
        ("Logical CPUs", _distinct(row.cpu_count for row in rows)),
        ("Devices", _distinct(row.device_name for row in rows)),
        ("GPU driver", _distinct(row.driver for row in rows)),
        ("Versions", _distinct(packages)),
    ]
    return [(label, text) for label, text in facts if text]


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None}))
