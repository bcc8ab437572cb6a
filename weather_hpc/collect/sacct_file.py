"""Slurm's accounting from a file: the output of ``sacct --parsable2``, saved by a user."""

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.runs.run import JobSummary
from weather_hpc.slurm.jobs import Job, parse_sacct_lines, status_of
from weather_hpc.text import counted

LONGEST_LINE = 2**20
"""Characters. A longer line is not from sacct; it is read in pieces, which are skipped."""

EXPECTED = (
    "expected the output of sacct --duplicates --parsable2 "
    "-o JobID,JobIDRaw,JobName,State,Eligible,Start,End,Elapsed,NNodes,NodeList,MaxRSS"
)


def is_sacct(path: Path) -> bool:
    """Whether ``path`` is a file whose first line is a header of sacct."""
    try:
        if not path.is_file():
            return False
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            first = file.readline(LONGEST_LINE)
    except OSError:
        return False
    return bool({"JobID", "JobIDRaw"} & set(first.replace("|", " ").split()))


def read_sacct(path: Path, job_ids: Collection[str] | None = None) -> dict[str, JobSummary]:
    """The jobs in ``path`` by id; the file is read line by line, with any columns and any size.

    A job appears under all its ids: an array task under ``12_3`` and its raw number, a
    heterogeneous job under those of its components (``12+0``, ``12+1``) and, as their sum, under
    ``12``. Only jobs with an id in ``job_ids`` are kept; None: all. Attempts of a requeued job add
    up if the export has them. Invalid lines are skipped, and their number is printed on stderr.
    Raises UserError if the file cannot be read or has no columns for id and state.
    """
    export = _Export(path, job_ids)
    jobs = parse_sacct_lines(export.lines())
    if export.skipped:
        lines = counted(export.skipped, "line")
        print(f"{path}: skipped {lines} that are incomplete or not from sacct", file=sys.stderr)
    for whole, components in export.components.items():
        jobs[whole] = _combined(whole, [jobs[job_id] for job_id in sorted(components)])
    for raw, job_id in export.raw.items():
        jobs.setdefault(raw, jobs[job_id])
    summaries = {job_id: _summary(job) for job_id, job in jobs.items()}
    return {
        job_id: summary
        for job_id, summary in summaries.items()
        if summary is not None and (job_ids is None or job_id in job_ids)
    }


class _Export:
    """The lines of an export; reading them collects the other ids of jobs."""

    def __init__(self, path: Path, job_ids: Collection[str] | None) -> None:
        self.path = path
        self.job_ids = None if job_ids is None else frozenset(job_ids)
        self.raw: dict[str, str] = {}
        """JobID by JobIDRaw, where they differ."""
        self.components: dict[str, set[str]] = defaultdict(set)
        """The JobIDs of the components of heterogeneous jobs."""
        self.skipped = 0
        """Invalid lines."""

    def lines(self) -> Iterator[dict[str, str]]:
        """Every line of the jobs, as cells by column; a file may hold several exports."""
        columns: list[str] | None = None
        for number, cells in enumerate(self._cells(), start=1):
            if columns is None and cells[0].startswith(("JobID ", " ")):
                raise UserError(f"{self.path}:{number}: columns are cut to a width; {EXPECTED}")
            if "JobID" in cells or "JobIDRaw" in cells:
                columns = self._header(cells, number)
            elif columns is None:
                raise UserError(f"{self.path}:{number}: no header line before it; {EXPECTED}")
            elif len(cells) != len(columns):
                self.skipped += cells != [""]
            else:
                line = dict(zip(columns, cells, strict=True))
                line.setdefault("JobID", line.get("JobIDRaw", ""))
                if status_of(line["State"]) is None:
                    self.skipped += 1
                elif self._selects(line):
                    yield line

    def _cells(self) -> Iterator[list[str]]:
        try:
            with self.path.open(encoding="utf-8", errors="backslashreplace") as file:
                while line := file.readline(LONGEST_LINE):
                    yield line.rstrip("\n").split("|")
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None

    def _header(self, cells: list[str], number: int) -> list[str]:
        if "State" not in cells:
            raise UserError(f"{self.path}:{number}: has no column State; {EXPECTED}")
        return cells

    def _selects(self, line: dict[str, str]) -> bool:
        """Whether the line is of one of the jobs; if so, the job's other ids are recorded."""
        job_id = line["JobID"].partition(".")[0]
        raw = line.get("JobIDRaw", "").partition(".")[0] or job_id
        whole = job_id.partition("+")[0]
        if "[" in job_id:
            return False  # tasks of an array that have not started: no run yet
        if self.job_ids is not None and self.job_ids.isdisjoint((job_id, raw, whole)):
            return False
        if "." not in line["JobID"]:
            if raw != job_id:
                self.raw[raw] = job_id
            if whole != job_id:
                self.components[whole].add(job_id)
        return True


def _combined(whole: str, components: list[Job]) -> Job:
    """A heterogeneous job as one: its components start together; the first runs the script."""
    nodes = [job.nodes for job in components]
    elapsed = [job.elapsed_s for job in components if job.elapsed_s is not None]
    peaks = [job.max_rss_mb for job in components if job.max_rss_mb is not None]
    return dataclasses.replace(
        components[0],
        job_id=whole,
        nodes=None if None in nodes else sum(filter(None, nodes)),
        node_list=",".join(job.node_list for job in components if job.node_list) or None,
        elapsed_s=max(elapsed, default=None),
        max_rss_mb=max(peaks, default=None),
    )


def _summary(job: Job) -> JobSummary | None:
    try:
        # 0 restarts may only mean that --duplicates was missing: then every job has one line
        return JobSummary.model_validate(
            dataclasses.asdict(job) | {"restarts": job.restarts or None}
        )
    except ValidationError:
        return None
