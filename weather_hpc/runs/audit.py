"""The audit of single runs: values that contradict each other, or that need a warning."""

from collections import Counter
from collections.abc import Iterator

from weather_hpc.runs.cpus import ASKED_FOR, hosts_of, more_than_cpus
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.runs.row import Code, Finding, Severity
from weather_hpc.runs.run import Run
from weather_hpc.runs.soundness import NO_TIME
from weather_hpc.study.stages import MEASURED
from weather_hpc.study.tasks import Strategy, TrainTask
from weather_hpc.text import counted

FOREIGN_LOAD_PERCENT = 10.0
"""CPU use by other processes, % of one core in measured time, above which a run is reported."""

ROUNDING = 0.01
"""Largest relative difference between values of one record that should agree."""


def audit_run(run: Run) -> Iterator[Finding]:
    """The findings on one run."""
    if run.not_a_number:
        yield _finding(run, Severity.ERROR, Code.NAN_LOSS, run.not_a_number)
    if run.reject is not None and run.reject.endswith(NO_TIME):
        message = "status is ok, but time_s is null: the run is in no table"
        yield _finding(run, Severity.ERROR, Code.MISSING_TOTAL, message)
    record = run.record
    if record is not None:
        yield from _images(run, record)
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


def _images(run: Run, record: RunRecord) -> Iterator[Finding]:
    """Images that a run could not use, or used although they are damaged."""
    unreadable, damaged = record.counts.unreadable, record.counts.damaged
    if record.left_out and record.status is not Status.FAILED:
        message = f"{record.left_out}; see the store's quarantine.csv"
        yield _finding(run, Severity.WARNING, Code.UNREADABLE_IMAGES, message)
        unreadable = None
    if unreadable:
        message = f"{counted(unreadable, 'image file')} could not be used"
        if record.status is Status.FAILED:
            message += f", and the run failed: {record.reason}"
            yield _finding(run, Severity.ERROR, Code.UNREADABLE_IMAGES, message)
        else:
            message += "; see the store's quarantine.csv"
            yield _finding(run, Severity.INFO, Code.UNREADABLE_IMAGES, message)
    if damaged:
        message = f"{counted(damaged, 'damaged image')} kept; see the store's items.csv"
        yield _finding(run, Severity.INFO, Code.UNREADABLE_IMAGES, message)


def _totals(run: Run, record: RunRecord) -> Iterator[Finding]:
    if record.phases.total is None:
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
    for on in hosts_of(record):
        if on.oversubscribed == ASKED_FOR:
            noun = MEASURED[record.spec.stage].worker
            words = more_than_cpus(len(on.ranks), noun, on.threads[0], len(on.cpus))
            message = f"{on.host}: {words}, {ASKED_FOR}: they share CPUs"
            yield _finding(run, Severity.INFO, Code.OVERSUBSCRIBED, message)
            continue
        for rank, threads in zip(on.ranks, on.threads, strict=True):
            if len(set(rank.cpus or [])) < threads:
                message = f"rank {rank.rank} on {on.host}: {threads} threads share CPUs {rank.cpus}"
                yield _finding(run, Severity.WARNING, Code.AFFINITY_MISMATCH, message)
                return
        if on.oversubscribed:
            message = (
                f"{len(on.ranks)} ranks on {on.host}: {sum(on.threads)} threads in total share "
                f"CPUs {sorted(on.cpus)}"
            )
            if on.asked is not None:
                message += f", where the run asked for {counted(on.asked, 'CPU')}"
            yield _finding(run, Severity.WARNING, Code.AFFINITY_MISMATCH, message)


def _epochs(run: Run, record: RunRecord, task: TrainTask) -> Iterator[Finding]:
    seen = {"counts.epochs is": record.counts.epochs, "events.jsonl holds": run.epochs_seen}
    short = [f"{name} {n}" for name, n in seen.items() if n is not None and n < task.epochs]
    if short:
        message = f"{task.epochs} epochs requested; {' and '.join(short)}"
        yield _finding(run, Severity.ERROR, Code.INCOMPLETE_EPOCHS, message)


def _finding(run: Run, severity: Severity, code: Code, message: str) -> Finding:
    return Finding(run.run_id, severity, code, message)
