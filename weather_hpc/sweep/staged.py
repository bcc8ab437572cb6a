"""``--staged``: small configurations first; a series that scales badly is stopped.

A series is runs that differ in workers (or ranks) only. Stage after stage, each series is measured
at its next larger size, all repeats of it. Where the efficiency at its largest size so far, over
its smallest, is below the floor, its larger sizes are recorded as skipped, with the measurement as
the reason.
"""

import sys
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import median

from weather_hpc.errors import UserError
from weather_hpc.launch.executors import Background, Executor
from weather_hpc.launch.first_runs import FirstRuns
from weather_hpc.launch.folders import SUBMITTING_S, lock, record_end
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import earlier_runs, read_run
from weather_hpc.runs.record import Status
from weather_hpc.runs.run import Run
from weather_hpc.runs.state import RunState, run_states
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.spec import RunSpec, Scaling, Stage
from weather_hpc.study.stages import MEASURED, reads_store
from weather_hpc.text import counted


def stages(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """``specs`` by the rank of their size in their series, the smallest first; predictions last."""
    sizes: dict[Hashable, set[int]] = defaultdict(set)
    for spec in specs:
        sizes[spec.series].add(spec.workers)
    by_place: dict[int, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        place = sorted(sizes[spec.series]).index(spec.workers)
        by_place[len(specs) if spec.stage is Stage.PREDICT else place].append(spec)
    return [by_place[place] for place in sorted(by_place)]


def efficiencies(runs: Iterable[Run]) -> dict[int, float]:
    """The efficiency at each measured number of workers of one series, over the smallest.

    Of median times, or under weak scaling of median images per second.
    """
    times: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        if run.spec is None or run.row.table is None:
            continue
        weak = run.spec.scaling is Scaling.WEAK
        rate = run.row.images_per_s
        time_s = (1 / rate if rate else None) if weak else run.row.time_s
        if time_s:
            times[run.spec.workers].append(time_s)
    medians = {workers: median(values) for workers, values in sorted(times.items())}
    first = next(iter(medians), 1)
    return {workers: medians[first] * first / (t * workers) for workers, t in medians.items()}


def stopped(specs: Iterable[RunSpec], earlier: Iterable[Run], floor: float) -> dict[str, str]:
    """Those of ``specs`` whose series is stopped: the measurement that is the reason, by run_id.

    ``earlier`` are the runs of the results folder.
    """
    series: dict[Hashable, list[Run]] = defaultdict(list)
    for run in earlier:
        if run.spec is not None:
            series[run.spec.series].append(run)
    measured = {key: efficiencies(runs) for key, runs in series.items()}
    reasons = {}
    for spec in specs:
        efficiency = measured.get(spec.series, {})
        smaller = [workers for workers in efficiency if workers < spec.workers]
        if smaller and efficiency[max(smaller)] < floor:
            noun = MEASURED[spec.stage].worker
            at = f"{efficiency[max(smaller)]:.2f} at {counted(max(smaller), noun)}"
            reasons[spec.run_id] = f"efficiency {at} is under the floor {floor:g}"
    return reasons


class StagedRuns:
    """Runs by stages, with an executor whose runs have ended when it returns."""

    def __init__(
        self, executor: Executor, paths: StudyPaths, floor: float, first_runs: FirstRuns
    ) -> None:
        self.executor = executor
        self.paths = paths
        self.floor = floor
        self.first_runs = first_runs

    def active(self) -> Mapping[str, Job]:
        """The jobs of runs that are already queued or running, by run_id."""
        return self.executor.active()

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Run ``specs`` stage by stage; the state of each at its end."""
        for stage in stages(specs):
            if self.first_runs.stopped:
                break
            if runs := self._without_stopped(stage):
                self.executor.run(runs)
        return run_states(self.paths, specs)

    def _without_stopped(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """``specs`` whose series is not stopped; the others are recorded as skipped."""
        reasons = stopped(specs, earlier_runs(self.paths), self.floor)
        for spec in specs:
            if spec.run_id in reasons:
                record_end(self.paths, spec, Status.SKIPPED, reasons[spec.run_id])
                print(f"{spec.run_id}: skipped ({reasons[spec.run_id]})", file=sys.stderr)
        return [spec for spec in specs if spec.run_id not in reasons]


class StagedJobs(StagedRuns):
    """The same with an executor that submits jobs: :meth:`wait` submits the later stages."""

    executor: Background

    def __init__(
        self, executor: Background, paths: StudyPaths, floor: float, first_runs: FirstRuns
    ) -> None:
        super().__init__(executor, paths, floor, first_runs)
        self._later: list[list[RunSpec]] = []

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Submit the first stage of ``specs``; the state of its runs."""
        first, *self._later = stages(specs) or [[]]
        return self.executor.run(self._without_stopped(first))

    def leave(self) -> list[int]:
        """Arrange that the jobs so far are collected; later stages are not submitted."""
        return self.executor.leave()

    def wait(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Wait for each stage and submit the next, until all have ended or one was cancelled."""
        later = {spec.run_id for stage in self._later for spec in stage}
        runs = [spec for spec in specs if spec.run_id not in later]
        stuck = self._wait(runs)
        for stage in self._later:
            if stuck:
                print("jobs cannot start: later stages are not submitted", file=sys.stderr)
                break
            if self.first_runs.stopped:
                print("later stages are not submitted", file=sys.stderr)
                break
            if self._cancelled(runs):
                print("jobs were cancelled: later stages are not submitted", file=sys.stderr)
                break
            with lock(self.paths, wait_s=SUBMITTING_S):
                runs = self._submit(self._without_stopped(stage))
            stuck = self._wait(runs)
        return run_states(self.paths, specs)

    def _wait(self, specs: Sequence[RunSpec]) -> bool:
        """Wait for ``specs``; whether some are still pending, since they can never start."""
        return bool(specs) and RunState.PENDING in self.executor.wait(specs).values()

    def _submit(self, specs: list[RunSpec]) -> list[RunSpec]:
        """Submit a later stage; where the cluster accepts none of it, record it as skipped."""
        try:
            if specs:
                self.executor.run(specs)
            return specs
        except UserError as error:
            for spec in specs:
                record_end(self.paths, spec, Status.SKIPPED, str(error))
            print(f"{counted(len(specs), 'run')} skipped: {error}", file=sys.stderr)
            return []

    def _cancelled(self, specs: Iterable[RunSpec]) -> bool:
        """Whether a user cancelled jobs; Slurm itself does where the store could not be packed."""
        ended = [(s.stage, read_run(self.paths.run(s.run_id).root).status) for s in specs]
        no_store = any(
            stage is Stage.PREPARE and status not in (Status.OK, Status.CANCELLED)
            for stage, status in ended
        )
        return any(
            status is Status.CANCELLED and not (no_store and reads_store(stage))
            for stage, status in ended
        )
