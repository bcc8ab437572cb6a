"""How a run ended, in words: exit code, signal, the error's line, and the log that has it."""

import re
import signal
from collections.abc import Iterable
from pathlib import Path

from weather_hpc.runs.error_line import error_in
from weather_hpc.runs.lock import used_by
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Row

NEVER_STARTED = "planned, never started"
"""The reason of a run that has no folder yet."""

SEE = " (see "
"""What precedes the path of a log at the end of a reason."""


def exit_text(code: int) -> str:
    """An exit code as text; above 128, by the shell's convention, it names a signal.

    So does a negative one, as Python reports the end of a process by a signal.
    """
    name = _signal(-code if code < 0 else code - 128)
    if name is None:
        return f"exit code {code}"
    hint = ", perhaps out of memory" if name == "SIGKILL" else ""
    return f"killed by {name} (exit code {128 - code if code < 0 else code}{hint})"


def ended_by(code: int | None, number: int | None) -> str:
    """The exit code and signal that Slurm reports of a job; empty where it reports neither."""
    if name := _signal(number or 0):
        return f"killed by {name}"
    return exit_text(code) if code else ""


def _signal(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def from_logs(logs: Iterable[Path]) -> str:
    """``: the error's line (see PATH)`` of the first of ``logs`` that has one; empty where none
    has anything."""
    for log in logs:
        if line := error_in(log):
            return f": {line}{SEE}{log})"
    return ""


def with_log(reason: str, log: Path) -> str:
    """``reason`` with the path of ``log``, where that holds anything and ``reason`` names none."""
    try:
        written = log.is_file() and log.stat().st_size > 0
    except OSError:
        written = False
    return f"{reason}{SEE}{log})" if written and SEE not in reason else reason


def without_log(reason: str) -> str:
    """``reason`` without the path that :func:`with_log` has added."""
    return (reason.rpartition(SEE)[0] if reason.endswith(")") else "") or reason


def in_words(row: Row) -> str:
    """How a run that was not measured ended, or that it has not: its status for people.

    ``incomplete`` says too little of a run that has a folder: ``not started``, ``running`` or
    ``interrupted``. Of a text log it says all that is known.
    """
    if row.status == Status.INCOMPLETE:
        if row.reason == NEVER_STARTED:
            return "not started"
        run = RunPaths(Path(row.source))
        if run.root.is_dir():
            return "running" if used_by(run) else "interrupted"
    return "interrupted" if was_interrupted(row) else row.status


def was_interrupted(row: Row) -> bool:
    """Whether it was stopped from outside, and nothing was wrong with it."""
    by_signal = re.search(r"interrupted|ended by SIG(?:TERM|HUP|INT)", row.reason or "")
    return row.status == Status.PREEMPTED or (row.status == Status.CANCELLED and bool(by_signal))
