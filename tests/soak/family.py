"""The processes of a study, found by their command lines; and how one of them is killed."""

import os
import random
import re
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

KINDS = {
    "sweep": r"-m weather_hpc\.sweep ",
    "collecting": r"-m weather_hpc\.collect ",
    "srun": r"(^|/)srun ",
    "torchrun": r"-m (torch\.distributed\.run|weather_hpc\.train\.torchrun) ",
    "training": r"-m weather_hpc\.train ",
    "driver": r"-m weather_hpc\.(preprocess|eda|predict) ",
    "worker": r"multiprocessing|dask",
    "shell": r"^(\S*/)?bash ",
}
"""What a process is, by the first expression that matches its command line."""

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
WEIGHTS = (7, 1, 1, 1)
"""Mostly kill -9, against which no program can do anything."""


@dataclass(frozen=True)
class Member:
    """A process of the study."""

    kind: str
    """One of :data:`KINDS`."""
    command: str
    process: psutil.Process

    @property
    def run(self) -> str | None:
        """The run_id of the run that it computes; None for a process that only starts others."""
        found = re.search(r"/runs/([\w.-]+)", self.command)
        return found[1] if found and self.kind in ("training", "driver") else None

    @property
    def launch(self) -> str | None:
        """What all processes of one start of a run have in common; None once it has ended.

        torchrun starts each rank in a session of its own, with an error file in a common folder.
        """
        try:
            file = self.process.environ().get("TORCHELASTIC_ERROR_FILE")
            return str(Path(file).parents[1]) if file else str(os.getsid(self.process.pid))
        except (psutil.Error, OSError):
            return None


def family(results: Path) -> list[Member]:
    """The processes that name ``results`` on their command line, and their descendants."""
    members: dict[int, Member] = {}
    for process in psutil.process_iter():
        command = _command(process)
        if str(results) not in command or "tests.soak" in command:
            continue
        for each in (process, *_children(process)):
            text = _command(each)
            kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, text)), None)
            if kind is not None:
                members[each.pid] = Member(kind, text, each)
    return list(members.values())


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) + " "
    except psutil.Error:
        return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def made_twice(members: list[Member]) -> set[str]:
    """The runs of which several starts compute at once."""
    starts = {(member.run, member.launch) for member in members if member.run and member.launch}
    counts = Counter(run for run, _ in starts)
    return {str(run) for run, count in counts.items() if count > 1}


def kill_one(members: list[Member], choice: random.Random) -> str | None:
    """Kill one of ``members``: its kind and the signal; None where it had ended.

    First a kind is drawn, for there are more workers than sweeps.
    """
    kinds = sorted({member.kind for member in members})
    if not kinds:
        return None
    kind = choice.choice(kinds)
    member = choice.choice([m for m in members if m.kind == kind])
    (number,) = choice.choices(SIGNALS, WEIGHTS)
    try:
        member.process.send_signal(number)
    except psutil.Error:
        return None
    return f"{kind} {number.name}"
