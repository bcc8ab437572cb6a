"""Whether the first runs of a stage fail alike: then its other runs would most likely fail, too.

A sweep then stops, and at a terminal asks whether to continue.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from weather_hpc.runs.ending import without_log
from weather_hpc.runs.error_line import error_in
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import Status
from weather_hpc.runs.run import Run
from weather_hpc.runs.state import RunState, run_states
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.text import alike, clean, counted

FIRST = 3
"""How many runs of a stage must fail alike, and none succeed."""

FAILURES = (Status.FAILED, Status.TIMEOUT, Status.OUT_OF_MEMORY)
"""Ends that another configuration may share. A node's failure or a cancelled job is none."""


@dataclass(frozen=True)
class AlikeFailure:
    """The first runs of a stage, which all failed for the same reason."""

    stage: Stage
    runs: int
    reason: str
    """That of the first of them, with the log that has it."""
    stderr: Path
    """Its log."""

    def __str__(self) -> str:
        last = clean(error_in(self.stderr))
        line = f"; its last line: {last}" if last and last not in self.reason else ""
        why = without_log(self.reason)
        log = self.reason[len(why) :].rstrip(")") or f" (see {self.stderr}"
        return (
            f"the first {counted(self.runs, 'run')} of stage {self.stage} failed alike: "
            f"{why}{log}{line})"
        )


def alike_failure(paths: StudyPaths, plan: Plan, made: Iterable[RunSpec]) -> AlikeFailure | None:
    """The stage whose runs among ``made`` all failed alike, at least :data:`FIRST`; else None.

    A stage of which any run in the folder has succeeded is none.
    """
    by_stage: dict[Stage, list[Run]] = {}
    for spec in made:
        by_stage.setdefault(spec.stage, []).append(read_run(paths.run(spec.run_id).root))
    for stage, runs in by_stage.items():
        if len(runs) < FIRST or any(run.status not in FAILURES for run in runs):
            continue
        if len({_without_names(run) for run in runs}) > 1:
            continue
        planned = [spec for spec in plan.runs if spec.stage is stage]
        if RunState.DONE not in run_states(paths, planned).values():
            first = runs[0]
            reason = clean(first.reject or str(first.status))
            return AlikeFailure(stage, len(runs), reason, paths.run(first.run_id).stderr)
    return None


def _without_names(run: Run) -> tuple[Status, str]:
    """How the run ended, without names and numbers that differ from run to run."""
    return run.status, alike(without_log(run.reject or "").replace(run.run_id, ""), quoted=True)


class FirstRuns:
    """What a sweep does where the first runs of a stage fail alike."""

    def __init__(self, paths: StudyPaths, plan: Plan, keep_going: bool = False) -> None:
        self.paths = paths
        self.plan = plan
        self.keep_going = keep_going
        self.stopped: dict[Stage, str] = {}
        """Why stages were stopped."""

    def failure(self, made: Iterable[RunSpec]) -> AlikeFailure | None:
        """The failure that the runs ``made`` by this sweep share, unless it has been answered."""
        if self.keep_going:
            return None
        open_stages = [spec for spec in made if spec.stage not in self.stopped]
        return alike_failure(self.paths, self.plan, open_stages)

    def stops(self, failure: AlikeFailure, left: int) -> bool:
        """Print ``failure``; whether the ``left`` runs are not to be made.

        A user at a terminal is asked; who wants to continue is not asked again.
        """
        print(failure, file=sys.stderr)
        if sys.stdin.isatty() and sys.stderr.isatty():
            question = f"make the other {counted(left, 'run')} all the same? [y/N] "
            print(question, end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() in ("y", "yes"):
                self.keep_going = True
                return False
        print(
            f"stopped, {counted(left, 'run')} not made: sweep again once the cause is fixed, "
            "or with --keep-going",
            file=sys.stderr,
        )
        self.stopped[failure.stage] = str(failure)
        return True
