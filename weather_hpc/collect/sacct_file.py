"""Slurm's accounting, exported by a user: what ``sacct --parsable2`` printed, in a file."""

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.runs.run import JobSummary
from weather_hpc.slurm.jobs import Job, parse_lines, status_of

LONGEST_LINE = 2**20
"""Characters. What is longer is no line of sacct's and is read in pieces that do not fit."""

WANTED = (
    "wanted is sacct --duplicates --parsable2 "
    "-o JobID,JobIDRaw,JobName,State,Eligible,Start,End,Elapsed,NNodes,NodeList,MaxRSS"
)


def is_sacct(path: Path) -> bool:
    """Whether ``path`` is a file whose first line is a header of sacct's."""
    try:
        if not path.is_file():
            return False
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            first = file.readline(LONGEST_LINE)
    except OSError:
        return False
    return bool({"JobID", "JobIDRaw"} & set(first.replace("|", " ").split()))


def read_sacct(path: Path, wanted: Collection[str] | None = None) -> dict[str, JobSummary]:
    """The jobs in ``path`` by id, line by line, whatever the columns and the size.

    A job has every id that it may be known by: of an array task ``12_3`` and its raw number, of a
    job of several parts (``12+0``, ``12+1``) also ``12``, all parts together. Only jobs with an id
    in ``wanted`` are kept; None: all. Tries of a requeued job add up where the export has them.
    Lines that do not fit are passed over, which is said on stderr. Raises UserError where the file
    cannot be read or lacks what is needed of every job: an id and a state.
    """
    export = _Export(path, wanted)
    states = parse_lines(export.lines())
    if export.unread:
        print(
            f"{path}: passed over {export.unread} lines that are no whole lines of sacct's",
            file=sys.stderr,
        )
    for whole, parts in export.parts.items():
        states[whole] = _together(whole, [states[part] for part in sorted(parts)])
    for raw, job_id in export.raw.items():
        states.setdefault(raw, states[job_id])
    jobs = {job_id: _job(state) for job_id, state in states.items()}
    return {
        job_id: job
        for job_id, job in jobs.items()
        if job is not None and (wanted is None or job_id in wanted)
    }


class _Export:
    """An export's lines, and what is noticed on the way."""

    def __init__(self, path: Path, wanted: Collection[str] | None) -> None:
        self.path = path
        self.wanted = None if wanted is None else frozenset(wanted)
        self.raw: dict[str, str] = {}
        """JobID by JobIDRaw, where they differ."""
        self.parts: dict[str, set[str]] = defaultdict(set)
        """The parts of jobs that have several."""
        self.unread = 0

    def lines(self) -> Iterator[dict[str, str]]:
        """Cells by column of every wanted line; several exports may follow each other."""
        columns: list[str] | None = None
        for number, cells in enumerate(self._cells(), start=1):
            if columns is None and cells[0].startswith(("JobID ", " ")):
                raise UserError(f"{self.path}:{number}: columns are cut to a width; {WANTED}")
            if "JobID" in cells or "JobIDRaw" in cells:
                columns = self._header(cells, number)
            elif columns is None:
                raise UserError(f"{self.path}:{number}: no header line before it; {WANTED}")
            elif len(cells) != len(columns):
                self.unread += cells != [""]
            else:
                line = dict(zip(columns, cells, strict=True))
                line.setdefault("JobID", line.get("JobIDRaw", ""))
                if status_of(line["State"]) is None:
                    self.unread += 1
                elif self._is_wanted(line):
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
            raise UserError(f"{self.path}:{number}: has no column State; {WANTED}")
        return cells

    def _is_wanted(self, line: dict[str, str]) -> bool:
        """Whether it is of a wanted job; its other names are noted then."""
        job_id = line["JobID"].partition(".")[0]
        raw = line.get("JobIDRaw", "").partition(".")[0] or job_id
        whole = job_id.partition("+")[0]
        if "[" in job_id:
            return False  # tasks of an array that have not started: nobody's run yet
        if self.wanted is not None and self.wanted.isdisjoint((job_id, raw, whole)):
            return False
        if "." not in line["JobID"]:
            if raw != job_id:
                self.raw[raw] = job_id
            if whole != job_id:
                self.parts[whole].add(job_id)
        return True


def _together(whole: str, parts: list[Job]) -> Job:
    """The parts of one job as one: they start together; the first runs the script."""
    nodes = [part.nodes for part in parts]
    elapsed = [part.elapsed_s for part in parts if part.elapsed_s is not None]
    peaks = [part.max_rss_mb for part in parts if part.max_rss_mb is not None]
    return dataclasses.replace(
        parts[0],
        job_id=whole,
        nodes=None if None in nodes else sum(filter(None, nodes)),
        node_list=",".join(part.node_list for part in parts if part.node_list) or None,
        elapsed_s=max(elapsed, default=None),
        max_rss_mb=max(peaks, default=None),
    )


def _job(state: Job) -> JobSummary | None:
    try:
        # one line is all that an export without --duplicates has of any job: no word of restarts
        return JobSummary.model_validate(
            dataclasses.asdict(state) | {"restarts": state.restarts or None}
        )
    except ValidationError:
        return None
