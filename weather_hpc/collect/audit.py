"""The audit: what looks wrong in the runs and between them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.collect.audit_checks import audit_checks
from weather_hpc.collect.checks import Checked
from weather_hpc.runs.finding import Code, Finding, Severity
from weather_hpc.runs.reading import Reading
from weather_hpc.runs.row import Row
from weather_hpc.text import clean

IMPOSSIBLE = 2.0
"""Beyond so many times the workers no cache explains a speedup: a figure is wrong."""

_ORDER = list(Severity)


def audit(
    readings: Sequence[Reading], comparison: Comparison, checked: Sequence[Checked] = ()
) -> list[Finding]:
    """Every finding, errors first: of single runs, between ``readings``, and of their machines.

    ``comparison`` is of the rows of all ``readings``.
    """
    rows = comparison.rows
    found = [finding for reading in readings for finding in reading.findings]
    for table in comparison.tables:
        compared = [row for row in rows if row.table == table.name]
        found += _superlinear(table)
        found += _hardware(table.name, compared)
        found += _batches(table.name, compared)
    found += _stores(rows)
    found += audit_checks(checked, comparison)
    return in_order(found)


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """``found``, each on one line, errors first."""
    found = [Finding(clean(f.source), f.severity, f.code, clean(f.message)) for f in found]
    return sorted(found, key=lambda f: (_ORDER.index(f.severity), f.code, f.source))


def _superlinear(table: ScalingTable) -> Iterator[Finding]:
    for row in table.rows:
        workers, speedup, low = table.workers(row), row["speedup"], row["speedup_low"]
        if table.superlinear(row):
            interval = "no interval" if low is None else f"95 % interval from {low:.2f}"
            impossible = (speedup if low is None else low) > workers * IMPOSSIBLE
            yield Finding(
                f"tables/{table.name}.csv",
                Severity.ERROR if impossible else Severity.WARNING,
                Code.SUPERLINEAR,
                f"{table.label(row)}: speedup {speedup:.2f} on {workers} workers ({interval}) "
                f"against {row['baseline']}: "
                + ("impossible: did both do the same work?" if impossible
                   else "is the baseline slower than it need be?"),
            )  # fmt: skip


def _hardware(name: str, rows: Iterable[Row]) -> Iterator[Finding]:
    """Rows of one study and device that were measured on different hardware."""
    seen: dict[tuple[str | None, str | None], dict[str, int]] = defaultdict(
        lambda: defaultdict(int)
    )
    for row in rows:
        if row.cpu_model or row.device_name:
            model = " + ".join(filter(None, (row.device_name, row.cpu_model)))
            count = f" ({row.cpu_count} CPUs)" if row.cpu_count else ""
            seen[row.study, row.device][model + count] += 1
    for (study, device), models in seen.items():
        if len(models) > 1:
            text = ", ".join(f"{n} on {model}" for model, n in sorted(models.items()))
            where = f"study {study}" + (f", device {device}" if device else "")
            yield Finding(
                f"tables/{name}.csv", Severity.WARNING, Code.HARDWARE_MISMATCH,
                f"{where}: compared runs differ in hardware: {text}",
            )  # fmt: skip


def _batches(name: str, rows: Iterable[Row]) -> Iterator[Finding]:
    studies: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        if row.batch_mode is not None and row.workers is not None:
            studies[row.study].append(row)
    for study, members in studies.items():
        modes = {row.batch_mode for row in members if (row.workers or 0) > 1}
        if len(modes) > 1:
            yield Finding(
                f"tables/{name}.csv", Severity.INFO, Code.BATCH_SEMANTICS,
                f"study {study}: batch sizes count one device's images in some rows and all "
                "devices' in others; compare by batch_size_per_device and batch_size_global",
            )  # fmt: skip
        growing = {r.batch_size_global for r in members if _global_batch_grows(r)}
        if growing:
            yield Finding(
                f"tables/{name}.csv", Severity.INFO, Code.BATCH_SEMANTICS,
                f"study {study}: strong scaling at a fixed batch per device, so the global batch "
                f"grows with the ranks (up to {max(filter(None, growing))}): fewer optimizer "
                "steps an epoch than the baseline takes",
            )  # fmt: skip


def _global_batch_grows(row: Row) -> bool:
    wider = (row.batch_size_global or 0) > (row.batch_size_per_device or 0)
    return row.scaling == "strong" and wider


def _stores(rows: Iterable[Row]) -> Iterator[Finding]:
    """Backends must pack the same bytes from the same images."""
    seen: dict[tuple[object, ...], dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row.table == "preprocess" and row.store_checksum is not None:
            same_input = (row.study, row.data, row.images_asked, row.image_size_px)
            seen[same_input].setdefault(row.store_checksum, row.run_id)
    for (study, *_), checksums in seen.items():
        if len(checksums) > 1:
            text = ", ".join(f"{run_id}: {value[:12]}" for value, run_id in checksums.items())
            yield Finding(
                "tables/preprocess.csv", Severity.ERROR, Code.REFERENCE_MISMATCH,
                f"study {study}: the same images were packed into different stores ({text})",
            )  # fmt: skip
