"""Slurm's accounting from a file: what sacct printed, in any of its forms, saved by a user."""

import contextlib
import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.logs import lines
from weather_hpc.runs.record import Status
from weather_hpc.runs.run import JobSummary
from weather_hpc.slurm.dumps import Dump, dump_of
from weather_hpc.slurm.jobs import Job, parse_sacct_lines
from weather_hpc.slurm.sacct_json import json_rows
from weather_hpc.slurm.sacct_table import Table, TableError, is_preamble
from weather_hpc.study.yaml_text import DEEPEST
from weather_hpc.text import counted, one_line

HEAD = 2**14
"""Bytes at the beginning of a file that show what it is."""

EXPECTED = (
    "expected the output of sacct --duplicates --parsable2 "
    "-o JobID,JobIDRaw,JobName,State,Eligible,Start,End,Elapsed,NNodes,NodeList,MaxRSS"
)


def is_sacct(path: Path) -> bool:
    """Whether ``path`` is a file that is meant as accounting, in any form, readable or not."""
    try:
        return path.is_file() and dump_of(_head(path)) is not None
    except (OSError, lines.UnreadableError):
        return False


def _head(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if b"\0" not in head and b"\x1b" not in head:
        with contextlib.suppress(UnicodeDecodeError):
            text = head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig")
            return text.replace("\r", "\n")
    block, _ = next(lines.blocks(path), (b"", True))  # compressed, coloured or another encoding
    return block[:HEAD].decode("utf-8", "backslashreplace")


def read_sacct(path: Path, job_ids: Collection[str] | None = None) -> dict[str, JobSummary]:
    """The jobs in ``path`` by id; tables are read line by line, with any columns and any size.

    A job appears under all its ids: an array task under ``12_3`` and its raw number, a
    heterogeneous job under those of its components (``12+0``, ``12+1``) and, as their sum, under
    ``12``. Only jobs with an id in ``job_ids`` are kept; None: all. Attempts of a requeued job add
    up if the export has them. Invalid lines are skipped, and their number is printed on stderr.
    Raises UserError if the file cannot be read or does not say which values are id and state.
    """
    export = _Export(path, job_ids)
    jobs = parse_sacct_lines(export.selected())
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

    def selected(self) -> Iterator[dict[str, str]]:
        """Every line of the wanted jobs, as cells by column."""
        try:
            kind = dump_of(_head(self.path))
            if kind in (Dump.JSON, Dump.YAML):
                rows = self._document(kind)
            elif kind in (Dump.TABLE, Dump.NO_HEADER, None):
                rows = self._table()
            else:
                raise UserError(f"{self.path}: is {kind.value}; {EXPECTED}")
            yield from filter(self._selects, rows)
        except lines.UnreadableError as error:
            raise UserError(f"{self.path}: {error}") from None

    def _table(self) -> Iterator[dict[str, str]]:
        table = Table()
        try:
            yield from table.rows(enumerate(self._lines(), start=1))
        except TableError as error:
            raise UserError(f"{self.path}:{error.number}: {error}; {EXPECTED}") from None
        if table.skipped and not table.read:
            raise UserError(f"{self.path}: no line can be read ({table.example}); {EXPECTED}")
        if table.skipped:
            count = counted(table.skipped, "line")
            message = f"skipped {count} that are incomplete or not from sacct ({table.example})"
            print(f"{self.path}: {message}", file=sys.stderr)
        if table.cut:
            message = f"{counted(table.cut, 'value')} cut to a column's width and left out"
            print(f"{self.path}: {message}; {EXPECTED}", file=sys.stderr)

    def _lines(self) -> Iterator[str]:
        for block, _ in lines.blocks(self.path):
            yield from block.decode("utf-8", "backslashreplace").split("\n")

    def _document(self, kind: Dump) -> Iterator[dict[str, str]]:
        printed = [*dropwhile(is_preamble, self._lines())]
        while is_preamble(printed[-1]):
            printed.pop()
        load = json.loads if kind is Dump.JSON else _load_yaml
        try:
            yield from json_rows(load("\n".join(printed)))
        except (
            ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError,
        ) as error:  # fmt: skip
            problem = f"cannot be read as {kind.value}: {one_line(error)}"
            raise UserError(f"{self.path}: {problem}; {EXPECTED}") from None

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


def _load_yaml(text: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):  # libyaml's composer ends the process if too deep
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases, or more than {DEEPEST} levels")
    return yaml.load(text, Loader=loader)  # noqa: S506  both are safe


def _combined(whole: str, components: list[Job]) -> Job:
    """A heterogeneous job as one: its components start together; the first runs the script.

    Where one of them failed, the job did.
    """
    ended = next((job for job in components if job.status is not Status.OK), components[0])
    nodes = [job.nodes for job in components]
    elapsed = [job.elapsed_s for job in components if job.elapsed_s is not None]
    peaks = [job.max_rss_mb for job in components if job.max_rss_mb is not None]
    return dataclasses.replace(
        components[0],
        job_id=whole,
        state=ended.state,
        reason=ended.reason,
        exit_code=ended.exit_code,
        signal=ended.signal,
        nodes=None if None in nodes else sum(filter(None, nodes)),
        node_list=",".join(job.node_list for job in components if job.node_list) or None,
        elapsed_s=max(elapsed, default=None),
        max_rss_mb=max(peaks, default=None),
    )


def _summary(job: Job) -> JobSummary | None:
    if job.active:
        job = dataclasses.replace(job, elapsed_s=None, max_rss_mb=None)  # both may still grow
    try:
        # 0 restarts may only mean that --duplicates was missing: then every job has one line
        return JobSummary.model_validate(
            dataclasses.asdict(job) | {"restarts": job.restarts or None}
        )
    except ValidationError:
        return None
