"""Documents of ``sacct --json`` and ``--yaml`` of any version of Slurm, as lines by column."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from weather_hpc.slurm.jobs import status_of

LARGEST = 2**62
"""Larger numbers mean that there is none."""


def json_rows(document: Any) -> Iterator[dict[str, str]]:
    """The jobs of ``document`` and their steps, by sacct's columns.

    Raises ValueError where it is not sacct's.
    """
    jobs = document.get("jobs") if isinstance(document, dict) else document
    if not isinstance(jobs, list):
        raise ValueError("no list of jobs")
    for job in jobs:
        if not isinstance(job, dict) or _number(job.get("job_id")) is None:
            raise ValueError("a job without job_id")
        if "job_state" in job:
            raise ValueError("job_state is of squeue or scontrol, not of sacct")
        yield from _job(job)


def _job(job: dict[str, Any]) -> Iterator[dict[str, str]]:
    times, allocated = _part(job, "time"), _list(job, "tres", "allocated")
    job_id = _job_id(job)
    nodes = _number(job.get("allocation_nodes"))
    if nodes is None:
        nodes = _count(allocated, "node")
    row = {
        "JobID": job_id,
        "JobIDRaw": _text(job.get("job_id")),
        "JobName": str(job.get("name") or ""),
        "State": _state(job.get("state")),
        "ExitCode": _exit_code(job.get("exit_code")),
        "Submit": _time(times.get("submission")),
        "Eligible": _time(times.get("eligible")),
        "Start": _time(times.get("start")),
        "End": _time(times.get("end")),
        "ElapsedRaw": _text(times.get("elapsed")),
        "NNodes": _text(nodes),
        "NodeList": str(job.get("nodes") or ""),
        "AllocCPUS": _text(_count(allocated, "cpu")),
    }
    yield row
    for number, step in enumerate(_list(job, "steps")):
        yield row | {
            "JobID": f"{job_id}.{_step_id(step) or number}",
            "State": _state(step.get("state")) or row["State"],
            "MaxRSS": _text(_count(_list(step, "tres", "requested", "max"), "mem")),
        }


def _step_id(step: dict[str, Any]) -> str:
    """``batch``, from 12.batch in newer versions."""
    found = _part(step, "step").get("id")
    if isinstance(found, dict):
        found = found.get("step_id")
    return str(found or "").rpartition(".")[2]


def _job_id(job: dict[str, Any]) -> str:
    """``12_3`` for a task of an array, ``12+0`` for a part of a heterogeneous job."""
    array, het = _part(job, "array"), _part(job, "het")
    if whole := _number(array.get("job_id")):
        task = _number(array.get("task_id"))
        waiting = f"[{array.get('task') or ''}]"
        return f"{whole}_{waiting if task is None else task}"
    offset = _number(het.get("job_offset"))
    if (whole := _number(het.get("job_id"))) and offset is not None:
        return f"{whole}+{offset}"
    return _text(job.get("job_id"))


def _state(state: Any) -> str:
    """The job's state: a word, or the one that is known among words and flags."""
    if isinstance(state, dict):
        state = state.get("current")
    words = [str(word) for word in state] if isinstance(state, list) else str(state or "").split()
    return next((word for word in words if status_of(word)), " ".join(words))


def _exit_code(code: Any) -> str:
    code = code if isinstance(code, dict) else {}
    signal = _part(code, "signal")
    number = _number(signal.get("id", signal.get("signal_id")))
    return f"{_text(code.get('return_code'))}:{_text(number) or 0}"


def _time(value: Any) -> str:
    """Seconds since 1970 as sacct's text, in UTC; 0 is no time."""
    seconds = _number(value)
    if not seconds:
        return "Unknown"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "Unknown"


def _number(value: Any) -> int | None:
    """A number of at least 0; since Slurm 23.02 it may be within set, infinite and number."""
    if isinstance(value, dict):
        if not value.get("set", True) or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST
    return value if known else None


def _text(value: Any) -> str:
    number = _number(value)
    return "" if number is None else str(number)


def _count(resources: list[dict[str, Any]], kind: str) -> int | None:
    """The largest count of ``kind`` in a list of trackable resources."""
    counts = [_number(each.get("count")) for each in resources if each.get("type") == kind]
    return max((count for count in counts if count is not None), default=None)


def _part(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        inner = value.get(key)
        value = inner if isinstance(inner, dict) else {}
    return value


def _list(value: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    found = _part(value, *keys[:-1]).get(keys[-1])
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
