"""The content of a report, section by section, whatever the format."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from weather_hpc.analysis.claims.table import ClaimsTable
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.devices import measured_devices
from weather_hpc.analysis.grids import is_grid
from weather_hpc.analysis.pop import imbalances, pop_table
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.findings import audit_table, key_findings, rejects_table
from weather_hpc.report.phases import phase_table, phase_times
from weather_hpc.report.predictions import Picture, PredictionsTable
from weather_hpc.report.published import not_comparable, published_table
from weather_hpc.runs.row import Finding, Row

_ADVICE = "advice"
"""Prefix of the names of tables that come first."""
_GPUS = "gpus"
"""The table that comes last."""
_DEVICES = "devices"
"""The table and the plot that have a section of their own."""
_OWN_SECTION = ("published", "phases", _DEVICES)
"""Prefixes of the names of plots that go into the section of that name."""
_MOST = 20
"""Values of one fact that are listed."""


@dataclass(frozen=True)
class ReportSection:
    """A heading and its content; any part may be empty."""

    name: str
    """Its id on the page."""
    title: str
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    """Labels and values."""
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Drawing] = ()
    pictures: Sequence[Picture] = ()
    file: str = ""
    """The file with every row of the tables; empty: tables/<name>.csv."""

    def full_file(self, table: Table) -> str:
        """The file that has all rows of ``table``."""
        return self.file or f"tables/{table.name}.csv"


@dataclass(frozen=True)
class Report:
    """A title and its sections."""

    title: str
    sections: Sequence[ReportSection]
    own_tables: Sequence[Table] = ()
    """The tables that the report adds to those of the analysis."""


def report_of(
    comparison: Comparison,
    findings: Sequence[Finding],
    plots: Sequence[Drawing],
    extras: Sequence[Table] = (),
    sentences: Sequence[str] = (),
) -> Report:
    """The report of a collection.

    ``extras`` are further tables of the analysis; those whose name begins with ``advice`` come
    first. ``sentences`` are further key findings.
    """
    rows, tables = comparison.rows, comparison.tables
    measured = [table for table in tables if table.rows]
    advice = [table for table in extras if table.rows and table.name.startswith(_ADVICE)]
    gpus = [table for table in extras if table.rows and table.name == _GPUS]
    claims = [table for table in extras if table.rows and isinstance(table, ClaimsTable)]
    devices = [table for table in extras if table.name == _DEVICES]
    grids = [table for table in extras if is_grid(table)]
    predictions = [table for table in extras if isinstance(table, PredictionsTable)]
    by_class = [table.by_class for table in predictions]
    apart = (*advice, *gpus, *claims, *devices, *grids, *predictions, *by_class)
    others = [table for table in extras if table.rows and table not in apart]
    published, phases = published_table(tables), phase_table(phase_times(comparison))
    pop = pop_table(comparison)
    audit, rejects = audit_table(findings), rejects_table(rows)
    key_sentences = key_findings(comparison, findings, sentences)
    sections = [
        ReportSection("measured", "What was measured", facts=overview(rows)),
        ReportSection(
            "findings",
            "Key findings",
            "" if key_sentences else "No run was measured.",
            sentences=key_sentences,
        ),
        *([ReportSection("advice", "What to run", tables=advice)] if advice else []),
        ReportSection(
            "tables",
            "Tables",
            "" if measured else "There are no preprocessing and no training runs.",
            tables=measured,
        ),
        *([ReportSection("grids", "In the study's form", tables=grids)] if grids else []),
        _plots(tables, plots),
        *_devices(comparison, devices, plots),
        *([ReportSection("analysis", "Further analysis", tables=others)] if others else []),
        _published(published, tables, plots),
        *map(_claims, claims),
        *map(_predictions, predictions),
        _phases(phases, pop, plots),
        ReportSection(
            "audit",
            "Audit",
            "What looks wrong, with the evidence." if findings else "No findings.",
            tables=[audit] if audit.rows else [],
            file="audit.csv",
        ),
        ReportSection(
            "rejects",
            "Rejects",
            "rows.csv has every run." if rejects.rows else "None: every run is in a table.",
            tables=[rejects] if rejects.rows else [],
            file="rejects.csv",
        ),
        _provenance(rows),
        *([ReportSection(_GPUS, "GPUs", tables=gpus)] if gpus else []),
    ]
    studies = distinct(row.study for row in rows)
    title = f"Scaling report: {studies or 'no study'}"
    return Report(title, sections, own_tables=(published, phases, pop))


def _plots(tables: Sequence[ScalingTable], plots: Sequence[Drawing]) -> ReportSection:
    """The plots of ``tables`` that have measured rows."""
    apart = (*_OWN_SECTION, *(f"{table.name}_" for table in tables if not table.measured))
    own = [plot for plot in plots if not plot.name.startswith(apart)]
    intervals = any(row["time_s_low"] is not None for table in tables for row in table.rows)
    bars = "Bars are intervals over three or more repeats: 95 % from six on, else their range"
    if not intervals:
        bars = "There are no bars: intervals need three repeats or more"
    text = f"{bars}. Points with equal x are drawn side by side. The dotted line is ideal."
    return ReportSection("plots", "Plots", text if own else "Nothing was measured.", plots=own)


def _devices(
    comparison: Comparison, tables: Sequence[Table], plots: Sequence[Drawing]
) -> Iterator[ReportSection]:
    """The same work on other devices; nothing where one device was measured."""
    title, devices = "Across devices", measured_devices(comparison)
    if any(table.rows for table in tables):
        yield ReportSection(_DEVICES, title, tables=tables, plots=_own(_DEVICES, plots))
    elif len(devices) > 1:
        text = f"No work was measured on more than one of {', '.join(devices)}."
        yield ReportSection(_DEVICES, title, text)


def _published(
    table: Table, tables: Sequence[ScalingTable], plots: Sequence[Drawing]
) -> ReportSection:
    name, title = "published", "Compared with the reproduced study"
    if not table.rows:
        return ReportSection(
            name, title, "No configuration of the reproduced study was measured here."
        )
    return ReportSection(
        name, title, not_comparable(tables), tables=[table], plots=_own(name, plots)
    )


def _claims(table: ClaimsTable) -> ReportSection:
    text = f"From: {table.source}. docs/how-to/claims.md says how a claim is tested."
    return ReportSection(
        table.name,
        table.title,
        text,
        sentences=table.contradictions,
        tables=table.parts,
        file=f"tables/{table.name}.csv",
    )


def _predictions(table: PredictionsTable) -> ReportSection:
    return ReportSection(
        table.name,
        "Predictions on new images",
        sentences=table.sentences,
        tables=[each for each in (table.by_class, table) if each.rows],
        pictures=table.pictures,
    )


def _phases(table: Table, pop: Table, plots: Sequence[Drawing]) -> ReportSection:
    name, title = "phases", "Where the time went"
    if not table.rows:
        return ReportSection(name, title, "No measured run recorded its phases.")
    drawn = [plot for plot in _own(name, plots) if plot.svg is not None]
    return ReportSection(
        name,
        title,
        sentences=imbalances(pop),
        tables=[table, pop] if pop.rows else [table],
        plots=drawn,
    )


def _provenance(rows: Sequence[Row]) -> ReportSection:
    facts = provenance(rows)
    text = "" if facts else "No run recorded where it ran; text logs do not."
    return ReportSection("provenance", "Provenance", text, facts=facts)


def _own(section: str, plots: Sequence[Drawing]) -> list[Drawing]:
    return [plot for plot in plots if plot.name.startswith(section)]


def overview(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What was measured."""
    statuses = Counter(row.status for row in rows)
    started = sorted({row.started_at for row in rows if row.started_at})
    facts = [
        ("Runs", ", ".join(f"{n} {status}" for status, n in statuses.most_common())),
        ("In tables", str(sum(row.table is not None for row in rows))),
        ("Images", _images(rows)),
        ("Image folder", distinct(row.data for row in rows)),
        ("Scaling", distinct(row.scaling for row in rows)),
        ("Measured", " to ".join(dict.fromkeys(map(_minute, (*started[:1], *started[-1:]))))),
    ]
    return [(label, text) for label, text in facts if text]


def provenance(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Where the numbers come from; several values where runs differ."""
    commits = {f"{r.commit}{' with changes' if r.dirty else ''}" for r in rows if r.commit}
    lists = {row.packages for row in rows if row.packages}
    facts = [
        ("Commit of weather_hpc", distinct(commits)),
        ("Hosts", distinct(row.host for row in rows)),
        ("CPU", distinct(row.cpu_model for row in rows)),
        ("Logical CPUs", distinct(row.cpu_count for row in rows)),
        ("Devices", distinct(row.device_name for row in rows)),
        ("GPU driver", distinct(row.driver for row in rows)),
        ("Versions", distinct(p for packages in lists for p in packages.split("; "))),
    ]
    return [(label, text) for label, text in facts if text]


def _minute(stamp: str) -> str:
    """An ISO time without its seconds; anything else unchanged."""
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    return f"{time:%Y-%m-%d %H:%M} {time.tzname() or ''}".rstrip()


def distinct(values: Iterable[object]) -> str:
    """The distinct ``values``, sorted, without None."""
    texts = sorted({str(value) for value in values if value is not None})
    more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return ", ".join(texts[:_MOST]) + more


def _images(rows: Iterable[Row]) -> str:
    counts = sorted({row.images for row in rows if row.stage == "preprocess" and row.images})
    sizes = sorted({row.image_size_px for row in rows if row.image_size_px})
    side = " and ".join(f"{size} × {size} pixels" for size in sizes)
    if not counts:
        return f"stored at {side}" if side else ""
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{number}, stored at {side}"
