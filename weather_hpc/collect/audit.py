"""The audit: findings about single runs, and about runs that do not fit together."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.statistics import interval_name
from weather_hpc.collect.machines import Checked, audit_checks
from weather_hpc.runs.record import RankInfo, RunRecord, Status
from weather_hpc.runs.row import Code, Finding, Reading, Row, Severity
from weather_hpc.runs.run import Run
from weather_hpc.study.settings import WORK, columns
from weather_hpc.study.spec import Strategy, TrainTask
from weather_hpc.study.stages import MEASURED
from weather_hpc.text import clean, counted

IMPOSSIBLE = 2.0
"""No cache explains a speedup of more than this many times the workers: a time is wrong."""

FOREIGN_LOAD_PERCENT = 10.0
"""CPU use by other processes, % of one core in measured time, above which a run is reported."""

ROUNDING = 0.01
"""Largest relative difference between values of one record that should agree."""

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
        findings += _hardware(name, compared)
        findings += _batches(name, compared)
    findings += _stores(rows)
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
        if baseline is not None and table.superlinear(row):
            repeats = min(len(configuration.group.measured), len(baseline.measured))
            name = interval_name(repeats)
            interval = "no interval" if low is None else f"{name} from {low:.2f}"
            impossible = (speedup if low is None else low) > workers * IMPOSSIBLE
            yield Finding(
                f"tables/{table.name}.csv",
                Severity.ERROR if impossible else Severity.WARNING,
                Code.SUPERLINEAR,
                f"{table.label(row)}: speedup {speedup:.2f} on {workers} workers ({interval}) "
                f"against {row['baseline']}: "
                + ("impossible; check that both did the same work" if impossible
                   else "check that the baseline is not slower than necessary"),
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


def audit_run(run: Run) -> Iterator[Finding]:
    """The findings on one run."""
    if run.not_a_number:
        yield _finding(run, Severity.ERROR, Code.NAN_LOSS, run.not_a_number)
    record = run.record
    if record is None or record.status is not Status.OK or record.spec.stage not in MEASURED:
        return
    yield from _totals(run, record)
    if run.reject is not None:
        return  # in no table, for a reason that rejects.csv gives
    yield from _times(run, record)
    yield from _ranks(run, record)
    yield from _affinity(run, record)
    yield from _devices(run, record)
    if isinstance(record.spec.task, TrainTask):
        yield from _epochs(run, record, record.spec.task)
    foreign = record.usage.foreign_cpu_percent
    if foreign is not None and foreign > FOREIGN_LOAD_PERCENT:
        yield _finding(
            run, Severity.WARNING, Code.FOREIGN_LOAD,
            f"other processes used {foreign:.0f} % of one core in measured time "
            f"(limit {FOREIGN_LOAD_PERCENT:.0f} %)",
        )  # fmt: skip
    restarts = record.provenance.restarts
    if restarts > 0:
        yield _finding(
            run, Severity.WARNING, Code.RESTARTED,
            f"stopped and resumed, or lost a worker, {counted(restarts, 'time')}; "
            "time_s may include work done twice",
        )  # fmt: skip


def _totals(run: Run, record: RunRecord) -> Iterator[Finding]:
    if record.time_s is None:
        message = "status is ok, but time_s is null: the run is in no table"
        yield _finding(run, Severity.ERROR, Code.MISSING_TOTAL, message)
    elif record.phases.total is None:
        message = "phases.total is null: the run's node-hours are unknown"
        yield _finding(run, Severity.WARNING, Code.MISSING_TOTAL, message)


def _times(run: Run, record: RunRecord) -> Iterator[Finding]:
    """Times that contradict other values of the record."""
    seconds, total, task = record.time_s, record.phases.total, record.spec.task
    if seconds is None or record.provenance.restarts:
        return
    if total is not None and seconds > total * (1 + ROUNDING):
        message = f"time_s {seconds:g} is longer than the whole process, {total:g} s"
        yield _finding(run, Severity.ERROR, Code.MISSING_TOTAL, message)
    images, rate = record.counts.images, record.images_per_s
    if isinstance(task, TrainTask) and images and rate is not None:
        expected = images * task.epochs / seconds
        if abs(rate - expected) > ROUNDING * expected:
            message = (
                f"images_per_s {rate:g} contradicts time_s {seconds:g}: "
                f"expected {expected:g} for {task.epochs} epochs of {images} images"
            )
            yield _finding(run, Severity.ERROR, Code.MISSING_TOTAL, message)


def _devices(run: Run, record: RunRecord) -> Iterator[Finding]:
    """Ranks of one run that used different device models."""
    names = Counter(rank.device_name for rank in record.actual.ranks if rank.device_name)
    if len(names) > 1:
        text = ", ".join(f"{count} on {name}" for name, count in sorted(names.items()))
        message = f"the ranks used different hardware: {text}; the slowest determines the time"
        yield _finding(run, Severity.WARNING, Code.HARDWARE_MISMATCH, message)


def _ranks(run: Run, record: RunRecord) -> Iterator[Finding]:
    task = record.spec.task
    requested = task.workers
    seen = {"actual.world_size is": record.actual.world_size}
    # with dp one process drives all devices, so ranks do not count devices
    if record.actual.ranks and not (isinstance(task, TrainTask) and task.strategy is Strategy.DP):
        seen["number of reporting ranks is"] = len({rank.rank for rank in record.actual.ranks})
    wrong = [f"{name} {n}" for name, n in seen.items() if n is not None and n != requested]
    if wrong:
        noun = MEASURED[record.spec.stage].worker
        message = f"{counted(requested, noun)} requested, but {' and '.join(wrong)}"
        yield _finding(run, Severity.ERROR, Code.RANK_COUNT_MISMATCH, message)


def _affinity(run: Run, record: RunRecord) -> Iterator[Finding]:
    """Ranks on one host, alone or together, that have fewer CPUs than threads."""
    hosts: dict[str, list[RankInfo]] = defaultdict(list)
    for rank in record.actual.ranks:
        if rank.cpus is not None:
            hosts[rank.host].append(rank)
    task = record.spec.task
    requested = task.threads_per_rank if isinstance(task, TrainTask) else 1
    for host, ranks in hosts.items():
        for rank in ranks:
            threads = max(requested, rank.threads or 1)
            if len(set(rank.cpus or [])) < threads:
                message = f"rank {rank.rank} on {host}: {threads} threads share CPUs {rank.cpus}"
                yield _finding(run, Severity.WARNING, Code.AFFINITY_MISMATCH, message)
                return
        cpus = {cpu for rank in ranks for cpu in rank.cpus or []}
        threads = sum(max(requested, rank.threads or 1) for rank in ranks)
        if len(cpus) < threads:
            message = (
                f"{len(ranks)} ranks on {host}: {threads} threads in total share CPUs "
                f"{sorted(cpus)}"
            )
            yield _finding(run, Severity.WARNING, Code.AFFINITY_MISMATCH, message)


def _epochs(run: Run, record: RunRecord, task: TrainTask) -> Iterator[Finding]:
    seen = {"counts.epochs is": record.counts.epochs, "events.jsonl holds": run.epochs_seen}
    short = [f"{name} {n}" for name, n in seen.items() if n is not None and n < task.epochs]
    if short:
        message = f"{task.epochs} epochs requested; {' and '.join(short)}"
        yield _finding(run, Severity.ERROR, Code.INCOMPLETE_EPOCHS, message)


def _finding(run: Run, severity: Severity, code: Code, message: str) -> Finding:
    return Finding(run.run_id, severity, code, message)
