"""Runs that are there twice."""

from collections.abc import Iterable
from typing import Any

from weather_hpc.collect.run import Run, rejected


def without_duplicates(runs: Iterable[Run]) -> list[Run]:
    """A run that is there twice counts once: the first stays, the others are rejected."""
    by_id: dict[str, Run] = {}
    by_content: dict[tuple[Any, ...], Run] = {}
    kept = []
    for run in runs:
        content = content_key(run)
        same_id = by_id.setdefault(run.run_id, run)
        same_content = by_content.setdefault(content, run) if content else run
        if same_content is not run:
            run = rejected(run, f"same content as {same_content.run_id} in {same_content.folder}")
        elif same_id is not run:
            run = rejected(run, f"the run_id is already that of {same_id.folder}, which is kept")
        kept.append(run)
    return kept


def content_key(run: Run) -> tuple[Any, ...] | None:
    """What two different runs cannot share: start, processes and times. None: too little is known.

    Needs a measured time and the processes or the start: a time alone may be equal by chance.
    """
    record = run.record
    if record is None or record.time_s is None:
        return None
    processes = tuple((rank.host, rank.pid) for rank in record.actual.ranks)
    started = record.provenance.started_at
    if not processes and started is None:
        return None
    return started, processes, record.time_s, record.phases.total
