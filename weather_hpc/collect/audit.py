"""The audit: the findings about single runs, and those about runs that do not fit together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.statistics import interval_name
from weather_hpc.analysis.steps import superlinear_step
from weather_hpc.analysis.table import above
from weather_hpc.collect.machines import Checked, audit_checks
from weather_hpc.runs.row import Code, Finding, Reading, Row, Severity
from weather_hpc.study.settings import WORK, columns
from weather_hpc.study.tasks import Backend
from weather_hpc.text import clean, counted

IMPOSSIBLE = 2.0
"""No cache explains a speedup of more than this many times the workers: a time is wrong."""

_ORDER = list(Severity)


def audit(
    readings: Sequence[Reading], comparison: Comparison, checked: Sequence[Checked] = ()
) -> list[Finding]:
    """Every finding, errors first: on single runs, between runs, and on their machines.

    ``comparison`` holds the rows of all ``readings``.
    """
    rows = comparison.rows
    findings = [finding for reading in readings for finding in reading.findings]
    for stage in comparison.stages:
        name = stage.table.name
        compared = [row for row in rows if row.table == name]
        findings += _superlinear(stage)
        findings += _superlinear_without_baseline(stage)
        findings += _hardware(name, compared)
        findings += _batches(name, compared)
    findings += _superlinear_steps(comparison)
    findings += _stores(rows)
    findings += _node_hours(rows)
    findings += audit_checks(checked, comparison)
    return in_order(findings)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """``findings``, each on one line, errors first."""
    lines = [Finding(clean(f.source), f.severity, f.code, clean(f.message)) for f in findings]
    return sorted(lines, key=lambda f: (_ORDER.index(f.severity), f.code, f.source))


def _superlinear(stage: StageComparison) -> Iterator[Finding]:
    """Speedups above the number of workers."""
    table = stage.table
    for configuration in stage.configurations:
        row, baseline = configuration.cells, configuration.baseline
        workers, speedup, low = table.workers(row), row["speedup"], row["speedup_low"]
        if baseline is not None and table.above_workers(row):
            repeats = min(len(configuration.group.measured), len(baseline.measured))
            name = interval_name(repeats)
            interval = "no interval" if low is None else f"{name} from {low:.2f}"
            severity, why = Severity.WARNING, "check that the baseline is not slower than necessary"
            if explained := table.explained(row):
                severity, why = Severity.INFO, explained
            elif (speedup if low is None else low) > workers * IMPOSSIBLE:
                severity, why = Severity.ERROR, "impossible; check that both did the same work"
            yield Finding(
                f"tables/{table.name}.csv", severity, Code.SUPERLINEAR,
                f"{table.label(row)}: speedup {speedup:.2f} on {workers} workers ({interval}) "
                f"against {row['baseline']}: {why}",
            )  # fmt: skip


def _superlinear_without_baseline(stage: StageComparison) -> Iterator[Finding]:
    """Configurations that are above their workers whichever of several baselines is theirs."""
    table = stage.table
    for one in stage.configurations:
        workers, candidates = one.group.settings.workers or 0, one.candidates
        if len(candidates) < 2 or not workers or table.other_program(one.cells):
            continue
        speedups = [
            (one.group.speedup(c), one.group.speedup_interval(c)[0], bool(c.sharing))
            for c in candidates
        ]
        if all(above(value, low, workers) and not shared for value, low, shared in speedups):
            least = min(value for value, _, _ in speedups if value is not None)
            yield Finding(
                f"tables/{table.name}.csv", Severity.WARNING, Code.SUPERLINEAR,
                f"{stage.label(one)}: speedup of at least {least:.2f} on {workers} workers against "
                f"each of {len(candidates)} configurations that may be its baseline",
            )  # fmt: skip


def _superlinear_steps(comparison: Comparison) -> Iterator[Finding]:
    """Steps of series without a baseline that gain more than they add workers."""
    without = {
        id(one.group)
        for stage in comparison.stages
        for one in stage.configurations
        if not one.candidates
    }
    for series in comparison.series:
        for fewer, more in () if series.problem else pairwise(series.points):
            if id(more) in without and superlinear_step(more, fewer):
                sizes = f"{more.settings.workers} against {fewer.settings.workers}"
                yield Finding(
                    f"tables/{series.table}.csv", Severity.WARNING, Code.SUPERLINEAR,
                    f"{series.label}: {more.speedup(fewer):.2f} times as fast with {sizes} "
                    f"{series.unit}s: check that both did the same work",
                )  # fmt: skip


def _hardware(name: str, rows: Iterable[Row]) -> Iterator[Finding]:
    """Rows of one study and device type that were measured on different hardware."""
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
                f"{where}: the compared runs used different hardware: {text}",
            )  # fmt: skip


def _batches(name: str, rows: Iterable[Row]) -> Iterator[Finding]:
    """Studies that mix both meanings of batch size, or whose global batch grows."""
    studies: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        if row.batch_mode is not None and row.workers is not None:
            studies[row.study].append(row)
    for study, members in studies.items():
        modes = {row.batch_mode for row in members if (row.workers or 0) > 1}
        if len(modes) > 1:
            yield Finding(
                f"tables/{name}.csv", Severity.INFO, Code.BATCH_SEMANTICS,
                f"study {study}: the batch size is per device in some rows and global in others; "
                "compare by batch_size_per_device and batch_size_global",
            )  # fmt: skip
        growing = {r.batch_size_global for r in members if _global_batch_grows(r)}
        if growing:
            yield Finding(
                f"tables/{name}.csv", Severity.INFO, Code.BATCH_SEMANTICS,
                f"study {study}: strong scaling with a fixed batch size per device, so the global "
                f"batch size grows with the ranks (up to {max(filter(None, growing))}): fewer "
                "optimizer steps per epoch than the baseline",
            )  # fmt: skip


def _global_batch_grows(row: Row) -> bool:
    larger = (row.batch_size_global or 0) > (row.batch_size_per_device or 0)
    return row.scaling == "strong" and larger


def _node_hours(rows: Iterable[Row]) -> Iterator[Finding]:
    """Runs without node-hours because a part of them is not known: none is guessed."""
    unknown: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.table is not None and row.node_hours is None and row.total_s is not None:
            whole_job = row.slurm_source is not None and row.slurm_elapsed_s is None
            why = "how long the whole job took" if whole_job else "on how many nodes it ran"
            if row.backend == Backend.DASK_JOBQUEUE and row.worker_jobs_s is None:
                why = "how long all jobs of its workers took"
            unknown[row.table, why].append(row)
    for (table, why), runs in unknown.items():
        yield Finding(
            f"tables/{table}.csv", Severity.WARNING, Code.ACCOUNTING,
            f"node_hours is empty for {counted(len(runs), 'run')}, such as {runs[0].run_id}: {why} "
            "is not known",
        )  # fmt: skip


_PACKING = columns(*WORK, kind="preprocess")
"""Runs that are equal in these pack the same store; the first is the study."""


def _stores(rows: Iterable[Row]) -> Iterator[Finding]:
    """Stores of the same images that differ: every backend must write the same bytes."""
    seen: dict[tuple[object, ...], dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row.table == "preprocess" and row.store_checksum is not None:
            same_work = tuple(getattr(row, column) for column in _PACKING)
            seen[same_work].setdefault(row.store_checksum, row.run_id)
    for (study, *_), checksums in seen.items():
        if len(checksums) > 1:
            text = ", ".join(f"{run_id}: {value[:12]}" for value, run_id in checksums.items())
            yield Finding(
                "tables/preprocess.csv", Severity.ERROR, Code.REFERENCE_MISMATCH,
                f"study {study}: the same images were packed into different stores ({text})",
            )  # fmt: skip
