"""What accounting in files says about the jobs of runs and logs, and where it contradicts a log."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weather_hpc.collect.sacct_file import read_sacct
from weather_hpc.errors import UserError
from weather_hpc.logs.failures import FAILURES
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Code, Finding, Reading, Severity
from weather_hpc.runs.run import JobSummary, read_job, with_job
from weather_hpc.slurm.jobs import QueueState, status_of
from weather_hpc.text import clean

_TELLING = [*dict.fromkeys(status for status, _, _ in FAILURES), Status.INCOMPLETE]
"""How a log and its job may say that a run ended, what says most first."""


@dataclass(frozen=True)
class Accounting:
    """The jobs in files, by each of their ids, and what is wrong with the files."""

    jobs: dict[str, JobSummary] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def with_jobs(self, runs: Iterable[Reading], logs: Iterable[Reading]) -> Iterator[Reading]:
        """``runs`` and ``logs`` with their jobs, except where sacct itself reported the job."""
        for run in runs:
            job = None if run.row.slurm_source == "sacct" else self._job(run)
            if job is not None and _is_another(job, Path(run.row.source)):
                job = None
            if job is not None and run.row.status == Status.INCOMPLETE:
                run = _judged(run, job)  # it could not say itself how it ended
            elif job is not None:
                run = dataclasses.replace(run, row=with_job(run.row, job))
            yield run
        for log in logs:
            job = self._job(log)
            yield log if job is None else _judged(log, job)

    def _job(self, reading: Reading) -> JobSummary | None:
        return self.jobs.get(reading.row.slurm_job_id or "")


def _is_another(job: JobSummary, folder: Path) -> bool:
    """Whether the run in ``folder`` knows its job by another name: ids are given a second time."""
    own = read_job(RunPaths(folder).slurm)
    return own is not None and None not in (own.name, job.name) and own.name != job.name


def read_accounting(
    exports: Sequence[Path], beside: Sequence[Path], readings: Sequence[Reading]
) -> Accounting:
    """The jobs of ``readings`` in files of accounting.

    ``exports`` were named by the user, ``beside`` were found among logs: one that cannot be read
    is a finding. Raises UserError where one of ``exports`` cannot be read.
    """
    wanted = {r.row.slurm_job_id for r in readings if r.row.slurm_job_id}
    jobs: dict[str, JobSummary] = {}
    findings = []
    for path in dict.fromkeys((*exports, *beside)):
        try:
            found = read_sacct(path, wanted)
        except UserError as error:
            if path in exports:
                raise
            findings.append(_finding(str(path), Severity.WARNING, str(error)))
            continue
        jobs |= found
        if not found:
            ids = ", ".join(sorted(wanted)[:3])
            why = f"none of its jobs is one of these runs' ({ids})"
            if not wanted:
                why = "no run has a job id; name {job_id} in --pattern, as in 'slurm-{job_id}.out'"
            findings.append(_finding(str(path), Severity.WARNING, f"not used: {why}"))
    return Accounting(jobs, tuple(findings))


def _judged(log: Reading, job: JobSummary) -> Reading:
    """``log`` with its job; where it has no total, how the job ended counts."""
    row, status = with_job(log.row, job), status_of(job.state)
    said = f"sacct: job {clean(job.job_id)} ended as {clean(job.state)}"
    if job.reason is not None:  # of its steps, one ran out of memory
        said, status = f"{said}: {clean(job.reason)}", Status.OUT_OF_MEMORY
    findings = log.findings
    if isinstance(status, QueueState):
        said = f"sacct: job {clean(job.job_id)} is {clean(job.state)}"
        message = f"{said}: its elapsed time still grows and is left out"
        findings += (_finding(row.run_id, Severity.INFO, message),)
    if row.status in _TELLING and status is not None:
        ends = [each for each in _TELLING if each in (row.status, status)]
        row = dataclasses.replace(row, status=str(ends[0]), reason=f"{row.reason}; {said}")
    elif row.time_s is not None and status in _TELLING:
        message = f"a total in the log, but {said}; the run is kept"
        findings += (_finding(row.run_id, Severity.WARNING, message),)
    return dataclasses.replace(log, row=row, findings=findings)


def _finding(source: str, severity: Severity, message: str) -> Finding:
    return Finding(source, severity, Code.ACCOUNTING, message)
