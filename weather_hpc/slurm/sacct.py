"""Reading what accounting says of jobs: from sacct's text, asked by us or exported by a user."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce

from weather_hpc.slurm.jobs import (
    JobState,
    expand,
    moment,
    number,
    part,
    seconds_between,
    standing,
)

SACCT_FIELDS = (
    "JobID,JobName,State,ExitCode,Submit,Eligible,Start,End,ElapsedRaw,"
    "NNodes,NodeList,AllocCPUS,MaxRSS"
)
"""What we ask of sacct."""

_COLUMNS = SACCT_FIELDS.split(",")

SECONDS_PER_DAY = 86_400


def parse_sacct(text: str) -> dict[str, JobState]:
    """The lines of ``sacct -D -n -P -o SACCT_FIELDS``, by job id; see :func:`parse_lines`."""
    cells = (line.strip().split("|") for line in text.splitlines())
    return parse_lines(
        dict(zip(_COLUMNS, row, strict=True)) for row in cells if len(row) == len(_COLUMNS)
    )


def parse_lines(lines: Iterable[Mapping[str, str]]) -> dict[str, JobState]:
    """sacct's lines, each as cells by column, by job id; the last try of each job.

    JobID and State are needed; a column that is missing is as one that is empty. A job that was
    requeued has a line for every try: times add up, and the number of tries before the last is
    ``restarts``. Another name is another job, whose id was given again: the last counts. Steps
    (``12_0.batch``) give their memory to their job. Garbage is passed over.
    """
    tries: dict[str, list[JobState]] = defaultdict(list)
    peaks: dict[str, float] = {}
    for line in lines:
        if standing(line["State"]) is None:
            continue
        job, _, step = line["JobID"].partition(".")
        if step:
            peak = megabytes(line.get("MaxRSS", ""))
            if peak is not None:
                peaks[job] = max(peak, peaks.get(job, 0.0))
            continue
        for job_id in expand(job):
            tried, known = _one_try(job_id, line), tries[job_id]
            if known and known[0].name != tried.name:
                known.clear()
                peaks.pop(job_id, None)
            if tried not in known:  # exports may overlap
                known.append(tried)
    jobs = {job_id: reduce(_next_try, known) for job_id, known in tries.items()}
    return {job_id: replace(job, max_rss_mb=peaks.get(job_id)) for job_id, job in jobs.items()}


def _one_try(job_id: str, line: Mapping[str, str]) -> JobState:
    def told(column: str) -> str:
        return line.get(column, "")

    elapsed = _elapsed(line)
    # a job that was cancelled before it started is given a start all the same, but no node
    begun = told("NodeList") != "None assigned" if told("NodeList") else bool(elapsed)
    started = moment(told("Start")) if begun else None
    return JobState(
        job_id, told("JobName"), told("State"), "sacct",
        exit_code=part(told("ExitCode"), 0),
        signal=part(told("ExitCode"), 1) or None,
        submitted_at=moment(told("Submit")),
        eligible_at=moment(told("Eligible")),
        started_at=started,
        ended_at=moment(told("End")),
        queue_s=seconds_between(moment(told("Eligible")), started),
        elapsed_s=elapsed if begun else None,
        nodes=number(told("NNodes")) or None if begun else None,
        node_list=told("NodeList") or None if begun else None,
        cpus=number(told("AllocCPUS")) if begun else None,
        restarts=0,
    )  # fmt: skip


def _elapsed(line: Mapping[str, str]) -> float | None:
    """Wall clock of one try, s: as told, in seconds or as ``1-02:30:00``, else start to end."""
    seconds = number(line.get("ElapsedRaw", ""))
    if seconds is not None:
        return float(seconds)
    found = re.fullmatch(r"(?:(\d{1,6})-)?(\d\d):(\d\d):(\d\d)", line.get("Elapsed", ""), re.ASCII)
    if found is not None:
        days, hours, minutes, rest = (int(text or 0) for text in found.groups())
        return float(days * SECONDS_PER_DAY + hours * 3600 + minutes * 60 + rest)
    return seconds_between(moment(line.get("Start", "")), moment(line.get("End", "")))


def _next_try(before: JobState, after: JobState) -> JobState:
    return replace(
        after,
        submitted_at=before.submitted_at,
        eligible_at=before.eligible_at,
        queue_s=_sum(before.queue_s, after.queue_s),
        elapsed_s=_sum(before.elapsed_s, after.elapsed_s),
        restarts=(before.restarts or 0) + 1,
    )


def megabytes(text: str) -> float | None:
    """``1234K`` (KiB, as sacct means it) as 1.263616 MB; None where nothing was sampled."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)([KMGT]?)", text, re.ASCII)
    if found is None or float(found[1]) == 0:
        return None
    factor: int = 1024 ** " KMGT".index(found[2] or " ")
    return float(found[1]) * factor / 1e6


def _sum(first: float | None, second: float | None) -> float | None:
    known = [value for value in (first, second) if value is not None]
    return sum(known) if known else None
