"""What a report tells, section by section; the page and the documents only differ in form."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.report.findings import audit_table, key_findings, rejects_table
from weather_hpc.report.phases import phase_splits, phase_table
from weather_hpc.report.plots import Plot
from weather_hpc.report.published import not_comparable, published_table
from weather_hpc.runs.finding import Finding
from weather_hpc.runs.row import Row

_ADVICE = "advice"
"""What the names of tables begin with that go to the top."""
_GPUS = "gpus"
"""The table that goes to the end."""
_OWN_SECTION = ("published", "phases")
"""What the names of plots begin with that stand in the section of that name."""
_MOST = 20
"""Different values of one fact that are listed."""


@dataclass(frozen=True)
class Section:
    """One heading with what is under it; any part may be empty."""

    name: str
    """Its id on the page."""
    title: str
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    """Labels and values."""
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    file: str = ""
    """Beside the report, what holds every line of the tables; else tables/<name>.csv does."""

    def whole(self, table: Table) -> str:
        """The file that holds all of ``table``."""
        return self.file or f"tables/{table.name}.csv"


@dataclass(frozen=True)
class Report:
    """A title and its sections."""

    title: str
    sections: Sequence[Section]


def report_of(
    comparison: Comparison,
    findings: Sequence[Finding],
    plots: Sequence[Plot],
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
    others = [table for table in extras if table.rows and table not in (*advice, *gpus)]
    audit, rejects = audit_table(findings), rejects_table(rows)
    told = key_findings(comparison, findings, sentences)
    sections = [
        Section("measured", "What was measured", facts=overview(rows)),
        Section(
            "findings",
            "Key findings",
            "" if told else "No run was measured, so there is nothing to find.",
            sentences=told,
        ),
        *([Section("advice", "What to run", tables=advice)] if advice else []),
        Section(
            "tables",
            "Tables",
            "" if measured else "There is no preprocessing and no training run.",
            tables=measured,
        ),
        _plots(tables, plots),
        *([Section("analysis", "Further analysis", tables=others)] if others else []),
        _published(tables, plots),
        _phases(comparison, plots),
        Section(
            "audit",
            "Audit",
            "What looks wrong, with the evidence." if findings else "Nothing was found.",
            tables=[audit] if audit.rows else [],
            file="audit.csv",
        ),
        Section(
            "rejects",
            "Rejects",
            "rows.csv holds every run." if rejects.rows else "None: every run is in a table.",
            tables=[rejects] if rejects.rows else [],
            file="rejects.csv",
        ),
        _provenance(rows),
        *([Section(_GPUS, "GPUs", tables=gpus)] if gpus else []),
    ]
    studies = distinct(row.study for row in rows)
    return Report(f"Scaling report: {studies or 'no study'}", sections)


def own_tables(comparison: Comparison) -> list[Table]:
    """The tables that the report itself makes, beside the analysis."""
    return [published_table(comparison.tables), phase_table(phase_splits(comparison))]


def _plots(tables: Sequence[ScalingTable], plots: Sequence[Plot]) -> Section:
    """The plots of ``tables``; that one without a measured row has none goes without saying."""
    apart = (*_OWN_SECTION, *(f"{table.name}_" for table in tables if not table.measured))
    own = [plot for plot in plots if not plot.name.startswith(apart)]
    intervals = any(row["time_s_low"] is not None for table in tables for row in table.rows)
    bars = "Bars are 95 % intervals, which take three runs or more"
    if not intervals:
        bars = "There are no bars, because 95 % intervals take three runs or more"
    text = f"{bars}. Points of the same size stand side by side. The dotted line is ideal."
    return Section("plots", "Plots", text if own else "Nothing was measured.", plots=own)


def _published(tables: Sequence[ScalingTable], plots: Sequence[Plot]) -> Section:
    table = published_table(tables)
    name, title = "published", "Beside the reproduced study"
    if not table.rows:
        return Section(name, title, "No configuration of the reproduced study was measured here.")
    return Section(name, title, not_comparable(tables), tables=[table], plots=_own(name, plots))


def _phases(comparison: Comparison, plots: Sequence[Plot]) -> Section:
    table = phase_table(phase_splits(comparison))
    name, title = "phases", "Where the time went"
    if not table.rows:
        return Section(name, title, "No measured run recorded its phases.")
    drawn = [plot for plot in _own(name, plots) if plot.svg is not None]
    return Section(name, title, tables=[table], plots=drawn)


def _provenance(rows: Sequence[Row]) -> Section:
    facts = provenance(rows)
    text = "" if facts else "No run tells where it ran: text logs do not."
    return Section("provenance", "Provenance", text, facts=facts)


def _own(section: str, plots: Sequence[Plot]) -> list[Plot]:
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
    """Where the figures come from; several values where runs differ."""
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
    """An ISO time without its seconds, for reading; anything else as it is."""
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    return f"{time:%Y-%m-%d %H:%M} {time.tzname() or ''}".rstrip()


def distinct(values: Iterable[object]) -> str:
    """The different ones of ``values``, sorted; None is none."""
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
