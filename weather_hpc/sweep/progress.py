"""How far a study is: its runs, what they wait for, what is left, what it cost, what failed."""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.runs.ending import in_words
from weather_hpc.runs.inputs import exit_code
from weather_hpc.runs.lock import Holder, read_holder
from weather_hpc.runs.node_hours import nodes_of, spent
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.progress import QUIET_S, RunProgress, is_being_made, read_progress
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.run import SECONDS_PER_HOUR, JobSummary, Run
from weather_hpc.runs.state import RunState, run_state
from weather_hpc.slurm.accounting import as_dict
from weather_hpc.slurm.jobs import Job, QueueState
from weather_hpc.slurm.pending import Waiting, waiting
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec
from weather_hpc.sweep.forecast import Basis, Estimate, Forecast, forecast
from weather_hpc.text import brief, counted, duration

OPEN = (RunState.TODO, RunState.PENDING, RunState.RUNNING)
"""States of runs that are still to end."""

MOST_RUNNING, MOST_FAILURES = 12, 3
"""Lines of the picture for running runs and for failures; the others are counted."""

_ORDER = (
    RunState.DONE, RunState.RUNNING, RunState.PENDING, RunState.TODO, RunState.SKIPPED,
    RunState.FAILED,
)  # fmt: skip
_WORDS = {RunState.TODO: "to come", RunState.PENDING: "queued"}


@dataclass(frozen=True)
class Running:
    """A run that is being made."""

    spec: RunSpec
    progress: RunProgress
    since_s: float | None
    """Seconds since it started; None: not known."""
    left_s: float | None
    """Seconds that it is expected to take still; None: nothing to expect it from."""

    def __str__(self) -> str:
        times = [] if self.since_s is None else [f"for {duration(self.since_s)}"]
        times.append("time left not known" if self.left_s is None else _left(self.left_s))
        return f"{self.spec.run_id}: {self.progress}; {', '.join(times)}"


@dataclass(frozen=True)
class StudyProgress:
    """A study at one moment."""

    study: str
    states: Mapping[str, RunState]
    """Of every run of the plan, by run_id."""
    running: Sequence[Running]
    waits: Sequence[Waiting]
    """Why jobs wait, by kind."""
    left_s: float | None
    """Seconds until the last run ends; None: not known."""
    why_unknown: str
    """Why not."""
    used: float
    """Node-hours so far, with those of the running runs."""
    costs: Forecast
    """What runs that have not ended cost, and what those that have did."""
    failures: Sequence[tuple[str, str]]
    """The failed runs, the last first, and why."""
    interrupted: frozenset[str]
    """Those of them that were stopped from outside."""
    sweep: Holder | None
    """The sweep that makes runs on this folder, where one is known to."""
    active: bool
    """Whether anything makes runs, or a queue holds them."""

    @property
    def counts(self) -> Counter[RunState]:
        """How many runs are in each state."""
        return Counter(self.states.values())

    @property
    def open(self) -> int:
        """How many runs are still to end."""
        return sum(self.counts[state] for state in OPEN)

    @property
    def exit_code(self) -> int:
        """0 where every run has been made or skipped; 1 where one failed or is missing."""
        whole = all(s in (RunState.DONE, RunState.SKIPPED) for s in self.states.values())
        return cli.EXIT_OK if whole else cli.EXIT_FAILED

    @property
    def count_line(self) -> str:
        """``3 of 20 runs done, 1 running, 16 to come``."""
        counts, (first, *others) = self.counts, _ORDER
        parts = [f"{counts[first]} of {counted(len(self.states), 'run')} {first}"]
        others += [state for state in RunState if state not in _ORDER]
        counts[RunState.FAILED] -= len(self.interrupted)
        parts += [f"{counts[s]} {_WORDS.get(s, s)}" for s in others if counts[s]]
        if self.interrupted:
            parts.append(f"{len(self.interrupted)} interrupted")
        return ", ".join(parts)

    def word(self, run_id: str) -> str:
        """The state of a run for people."""
        return "interrupted" if run_id in self.interrupted else self.states[run_id]

    @property
    def left_line(self) -> str:
        """When all will have ended."""
        if not self.open:
            return "all runs have ended"
        if not self.active:
            return f"{counted(self.open, 'run')} left and none running: sweep again to resume"
        if self.left_s is None:
            return f"time left not known: {self.why_unknown}"
        return f"{_left(self.left_s)} for {counted(self.open, 'run')}"

    @property
    def cost_line(self) -> str:
        """What it has cost and will."""
        text = f"node-hours: {brief(self.used)} used"
        if not self.open:
            return text
        costs = self.costs
        estimates = [*costs.runs, *costs.active]
        if all(estimate.basis is not Basis.TIME_LIMIT for estimate in estimates):
            text += f", about {brief(costs.committed + costs.node_hours)} in all"
        most = brief(costs.committed_at_most + costs.at_most)
        return f"{text}, at most {most} by the time limits (requeues not counted)"

    @property
    def lines(self) -> list[str]:
        """The whole picture."""
        lines = [f"study {self.study}: {self.count_line}", self.left_line, self.cost_line]
        lines += [f"running  {run}" for run in self.running[:MOST_RUNNING]]
        if len(self.running) > MOST_RUNNING:
            lines.append(f"running  {len(self.running) - MOST_RUNNING} more")
        lines += [f"waiting  {kind}" for kind in self.waits]
        lines += [
            f"{self.word(name):<8} {name}: {why}" for name, why in self.failures[:MOST_FAILURES]
        ]
        if len(self.failures) > MOST_FAILURES:
            earlier = len(self.failures) - MOST_FAILURES
            lines.append(f"failed   {earlier} earlier one{'' if earlier == 1 else 's'}")
        if self.sweep is not None:
            lines.append(f"a sweep is running as {self.sweep}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form; times in s, null where not known."""
        return {
            "counts": {str(state): n for state, n in sorted(self.counts.items())},
            "progress": [
                {
                    "run_id": run.spec.run_id,
                    "phase": run.progress.phase,
                    "epoch": run.progress.epoch,
                    "epochs": getattr(run.spec.task, "epochs", None),
                    "loss": run.progress.loss,
                    "accuracy": run.progress.accuracy,
                    "test_accuracy": run.progress.test_accuracy,
                    "since_s": run.since_s,
                    "left_s": run.left_s,
                }
                for run in self.running
            ],
            "waiting": list(map(str, self.waits)),
            "left_s": self.left_s,
            "node_hours": {
                "used": self.used,
                "at_most": self.costs.committed_at_most + self.costs.at_most,
            },
            "failures": [{"run_id": name, "reason": why} for name, why in self.failures],
        }


def _left(seconds: float) -> str:
    return f"about {duration(seconds)} left" if seconds >= 1 else "should end any moment"


class Watcher:
    """Looks at a study again and again; what has ended is read once.

    It reads files only, takes no lock, and writes nothing.
    """

    def __init__(self, paths: StudyPaths, plan: Plan) -> None:
        self.paths = paths
        self.plan = plan
        self._runs = {spec.run_id: (spec, paths.run(spec.run_id)) for spec in plan.all}
        self._seen: dict[str, tuple[_Files, RunState]] = {}
        """The state of each run, and from what files it was read."""
        self._ended: dict[str, tuple[_Files, Run]] = {}
        self._costs: tuple[dict[str, RunState], Forecast] | None = None

    def look(self, jobs: Mapping[str, Job]) -> StudyProgress:
        """The study now. ``jobs``: of its runs, as Slurm reports them, by run_id."""
        states = {run_id: self._state(run_id, jobs.get(run_id)) for run_id in self._runs}
        costs = self._forecast(states)
        running = [
            self._running(estimate)
            for estimate in costs.active
            if states[estimate.spec.run_id] is RunState.RUNNING
        ]
        used = costs.used + sum(map(self._used, running))
        queued = Counter(states.values())[RunState.PENDING]
        left_s, why_unknown = _time_left(running, costs.runs, queued)
        sweep = self._sweep()
        return StudyProgress(
            study=self.plan.study,
            states=states,
            running=running,
            waits=waiting(jobs.values()),
            left_s=left_s,
            why_unknown=why_unknown,
            used=used,
            costs=costs,
            failures=self._failures(states, jobs),
            interrupted=frozenset(self._interrupted(states)),
            sweep=sweep,
            active=bool(running or queued or sweep),
        )

    def _forecast(self, states: dict[str, RunState]) -> Forecast:
        """What is to come, and what has ended; computed again where a state has changed."""
        if self._costs is None or self._costs[0] != states:
            by_state: dict[RunState, list[RunSpec]] = {state: [] for state in RunState}
            for run_id, (spec, _) in self._runs.items():
                by_state[states[run_id]].append(spec)
            ended = [self._run(run_id) for run_id, state in states.items() if state not in OPEN]
            active = [*by_state[RunState.RUNNING], *by_state[RunState.PENDING]]
            costs = forecast(by_state[RunState.TODO], ended, active)
            tries = sum(spent(read_run(self.paths.run(spec.run_id).root)) for spec in active)
            self._costs = states, dataclasses.replace(costs, used=costs.used + tries)
        return self._costs[1]

    def _used(self, run: Running) -> float:
        """Node-hours of this try of a run so far."""
        return (run.since_s or 0.0) * nodes_of(run.spec) / SECONDS_PER_HOUR

    def _sweep(self) -> Holder | None:
        """The sweep that holds the folder's lock, as the file says; one that was killed does not.

        On another host it cannot be seen whether it lives: only whether runs still end.
        """
        holder = read_holder(self.paths.lock)
        if holder is None or holder.lives:
            return holder
        stamps = [stamp[0] for files, _ in self._seen.values() for stamp in files]
        changed_at = max([*stamps, _stamp(self.paths.lock)[0]]) / 1e9
        elsewhere = not holder.is_here and time.time() - changed_at < QUIET_S
        return holder if elsewhere else None

    def _state(self, run_id: str, job: Job | None) -> RunState:
        spec, run = self._runs[run_id]
        files = _files(run)
        known = self._seen.get(run_id)
        state = known[1] if known and known[0] == files else run_state(run, spec)
        self._seen[run_id] = (files, state)
        if state in (RunState.DONE, RunState.SKIPPED):
            return state  # also where its job has not left the queue yet
        if job is not None and job.active:
            pending = job.status is QueueState.PENDING
            return RunState.PENDING if pending else RunState.RUNNING
        if is_being_made(run, spec, elsewhere=job is None):
            return RunState.RUNNING
        return state if job is None else RunState.FAILED

    def _run(self, run_id: str) -> Run:
        run = self._runs[run_id][1]
        files = _files(run)
        if run_id not in self._ended or self._ended[run_id][0] != files:
            self._ended[run_id] = (files, read_run(run.root))
        return self._ended[run_id][1]

    def _running(self, estimate: Estimate) -> Running:
        spec, now = estimate.spec, time.time()
        progress = read_progress(self.paths.run(spec.run_id), spec)
        since_s = None if progress.started_at is None else max(0.0, now - progress.started_at)
        left_s = None
        if estimate.basis is Basis.MEASURED and since_s is not None and not progress.resumed:
            left_s = _seconds(estimate) - since_s
        elif progress.left_s is not None and progress.epoch_at is not None:
            left_s = progress.left_s - (now - progress.epoch_at)
        elif estimate.basis is Basis.SCALED and since_s is not None and not progress.resumed:
            left_s = _seconds(estimate) - since_s
        return Running(spec, progress, since_s, None if left_s is None else max(0.0, left_s))

    def _failures(
        self, states: Mapping[str, RunState], jobs: Mapping[str, Job]
    ) -> list[tuple[str, str]]:
        failed = [run_id for run_id, state in states.items() if state is RunState.FAILED]
        failed.sort(key=lambda run_id: _changed(self._runs[run_id][1]), reverse=True)
        return [(run_id, self._why(run_id, jobs.get(run_id))) for run_id in failed]

    def _interrupted(self, states: Mapping[str, RunState]) -> Iterator[str]:
        for run_id, state in states.items():
            if state is RunState.FAILED and in_words(self._run(run_id).row) == "interrupted":
                yield run_id

    def _why(self, run_id: str, job: Job | None) -> str:
        row = self._run(run_id).row
        if row.status == "incomplete" and job is not None:
            summary = JobSummary.model_construct(**as_dict(job))
            return summary.ended(exit_code(self._runs[run_id][1].exit))
        return row.reason or row.status


_Files = tuple[tuple[int, int], ...]


def _files(run: RunPaths) -> _Files:
    """What changes when a run ends, or is made again."""
    return tuple(_stamp(path) for path in (run.record, run.exit, run.slurm))


def _changed(run: RunPaths) -> int:
    return max(_stamp(run.record)[0], _stamp(run.exit)[0])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _seconds(estimate: Estimate) -> float:
    """How long a run is expected to take."""
    return estimate.node_hours / nodes_of(estimate.spec) * SECONDS_PER_HOUR


def _time_left(
    running: Sequence[Running], to_come: Iterable[Estimate], queued: int
) -> tuple[float | None, str]:
    """Seconds until all have ended, None where nobody can know; and why not.

    Runs to come are made one after another. Queued ones start when the queue lets them.
    """
    if queued:
        return None, f"{counted(queued, 'run')} in the queue"
    of_running = [run.left_s for run in running]
    known = [seconds for seconds in of_running if seconds is not None]
    estimates = list(to_come)
    without = [e for e in estimates if e.basis is Basis.TIME_LIMIT]
    unknown = len(without) + len(of_running) - len(known)
    if unknown:
        return None, f"no repeat of {counted(unknown, 'run')} has ended"
    return max(known, default=0.0) + sum(map(_seconds, estimates)), ""
