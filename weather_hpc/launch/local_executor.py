"""The local executor: the same job scripts, run on this machine one after the other."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from weather_hpc import cli
from weather_hpc.files import write_json
from weather_hpc.launch.command import needs_cuda
from weather_hpc.launch.family import Family
from weather_hpc.launch.first_runs import AlikeFailure, FirstRuns
from weather_hpc.launch.folders import free_runs, make_ready, record_end, write_script
from weather_hpc.launch.script import run_script
from weather_hpc.launch.watch import BetweenRuns, nothing
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.provenance import utc_now
from weather_hpc.runs.reader import images_left_out, read_run
from weather_hpc.runs.record import Status
from weather_hpc.runs.state import RunState, run_state, run_states
from weather_hpc.slurm.accounting import refresh_accounting
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.stages import MEASURED, reads_store
from weather_hpc.study.tasks import EdaTask, Engine, PredictTask, Task, TrainTask
from weather_hpc.text import counted, one_line
from weather_hpc.train.ranks import lacking_gpus

SECONDS_PER_MINUTE = 60.0

_COUNT_GPUS = """
import json
from weather_hpc.train.cuda import usable_gpus, why_no_cuda
print(json.dumps([usable_gpus(), why_no_cuda()]))
"""


@dataclass(frozen=True)
class Machine:
    """What of a machine decides whether a run can be measured on it."""

    cpus: tuple[int, ...]
    """CPUs this process may use."""
    gpus: int
    """CUDA GPUs that torch sees."""
    packages: frozenset[str]
    """Which of the optional packages are installed."""
    no_cuda: str | None = None
    """Why torch can compute on no GPU; None where it can, or no run needs one."""


def this_machine(specs: Sequence[RunSpec], python: str) -> Machine:
    """This machine. If any run needs GPUs, ``python`` counts them in a process of its own."""
    packages = frozenset(
        name
        for name in ("torch", "distributed", "cv2")
        if importlib.util.find_spec(name) is not None
    )
    count = any(_needs_gpu(spec) for spec in specs) and "torch" in packages
    gpus, no_cuda = _gpus(python) if count else (0, None)
    return Machine(tuple(sorted(os.sched_getaffinity(0))), gpus, packages, no_cuda)


def _needs_gpu(spec: RunSpec) -> bool:
    return isinstance(spec.task, TrainTask) and needs_cuda(spec.task)


@functools.cache
def _gpus(python: str) -> tuple[int, str | None]:
    """How many GPUs torch can compute on, and where it is none, why."""
    try:
        done = subprocess.run(
            [python, "-c", _COUNT_GPUS], capture_output=True, text=True, timeout=120, check=True
        )
        gpus, no_cuda = json.loads(done.stdout)
        return gpus, no_cuda
    except subprocess.CalledProcessError as error:
        lines = error.stderr.splitlines() or [f"exit code {error.returncode}"]
        return 0, f"{python} could not count them: {lines[-1]}"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return 0, f"{python} could not count them: {one_line(error)}"


def skip_reason(spec: RunSpec, machine: Machine) -> str | None:
    """Why ``spec`` cannot be measured on ``machine``; None where it can."""
    task, resources = spec.task, spec.resources
    if resources.nodes > 1:
        return f"asks for {resources.nodes} nodes; the local executor has one"
    if spec.submits_workers:
        return "backend dask-jobqueue needs Slurm; the local executor has none"
    if missing := _missing_package(task, machine):
        return missing
    if _needs_gpu(spec) and machine.gpus < resources.gpus_per_node:
        return lacking_gpus(resources.gpus_per_node, machine.gpus, machine.no_cuda)
    # here only computing threads need a CPU; a cluster is asked for extra ones that feed GPUs
    cpus = resources.cpus_per_node
    if isinstance(task, TrainTask) and resources.cpus_per_worker is None:
        cpus = min(cpus, task.threads_per_node(resources.nodes))
    if cpus > len(machine.cpus) and not resources.oversubscribe:
        return f"asks for {counted(cpus, 'CPU')}; this machine gives {len(machine.cpus)}"
    return None


def _missing_package(task: Task, machine: Machine) -> str | None:
    """Which package ``task`` needs that the machine lacks, and how to install it."""
    method = ""
    if not isinstance(task, TrainTask | PredictTask):
        method = getattr(task, MEASURED[Stage(task.kind)].method)
    if method.startswith("dask") and "distributed" not in machine.packages:
        return "dask is not installed: pip install 'weather_hpc[dask]'"
    by_opencv = isinstance(task, EdaTask) or method == Engine.OPENCV
    if by_opencv and "cv2" not in machine.packages:
        return "OpenCV is not installed: pip install 'weather_hpc[eda]'"
    # exploration measures the augmentation of training, which torch computes
    by_torch = isinstance(task, TrainTask | PredictTask | EdaTask)
    if by_torch and "torch" not in machine.packages:
        return "torch is not installed: pip install 'weather_hpc[train]'"
    return None


class LocalExecutor:
    """Runs a plan on this machine. Runs never overlap: they would slow each other down."""

    def __init__(
        self,
        plan: Plan,
        paths: StudyPaths,
        site: SiteProfile,
        first_runs: FirstRuns | None = None,
        between_runs: BetweenRuns = nothing,
    ) -> None:
        self.plan = plan
        self.paths = paths
        self.site = site
        self.first_runs = first_runs or FirstRuns(paths, plan, keep_going=True)
        self.between_runs = between_runs
        self.made: list[RunSpec] = []
        """Runs whose process this executor has started, in their order."""
        self.machine = Machine(cpus=(), gpus=0, packages=frozenset())
        """This machine, as it was when :meth:`run` was called."""
        self.no_store: str | None = None
        """Why no run that reads the store can be made, once the store could not be packed."""

    def active(self) -> dict[str, Job]:
        """The queued or running jobs of earlier sweeps, by run_id: their runs must not run here."""
        jobs = refresh_accounting(self.paths)
        return {run_id: job for run_id, job in jobs.items() if job.active}

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Run ``specs`` in their order, also after failures; the state of each at its end.

        Where the first runs of a stage fail alike, and nobody wants to continue, the others are
        not made. Nor is one in whose folder another process works: it counts as running.
        """
        free = free_runs(self.paths, specs)
        possible = self._without_skipped(free)
        done = 0
        while done < len(possible):
            done, failure = self._run_from(done, possible)
            if failure is not None and self.first_runs.stops(failure, len(possible) - done):
                break
        used = {spec.run_id: RunState.RUNNING for spec in specs if spec not in free}
        return run_states(self.paths, specs) | used

    def _run_from(self, done: int, possible: Sequence[RunSpec]) -> tuple[int, AlikeFailure | None]:
        """Run ``possible`` but for the first ``done`` of them, until the first runs fail alike.

        How many are done then, and the failure where there are others.
        """
        with cli.progress("starting", total=len(possible)) as advance:
            advance(done)
            for number, spec in enumerate(possible[done:], start=done + 1):
                self.between_runs({})
                advance(0, text=spec.label)
                start = time.monotonic()
                self._run(spec)
                run = self.paths.run(spec.run_id)
                state = run_state(run, spec)
                print(
                    f"[{number}/{len(possible)}] {spec.run_id}: {state} "
                    f"{time.monotonic() - start:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
                if spec.stage is Stage.PREPARE and (warning := images_left_out(run)):
                    print(f"    {warning}", file=sys.stderr, flush=True)
                if state is not RunState.DONE:
                    row = read_run(run.root).row
                    reason = row.reason or row.status
                    print(f"    {reason}", file=sys.stderr, flush=True)
                    if spec.stage is Stage.PREPARE:
                        self.no_store = f"the store could not be packed: {reason}"
                advance()
                if state is RunState.FAILED and number < len(possible):
                    failure = self.first_runs.failure(self.made)
                    if failure is not None:
                        return number, failure
        return len(possible), None

    def _without_skipped(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Those that this machine can make; the others are recorded as skipped, with the reason."""
        self.machine = this_machine(specs, self.site.python)
        possible: list[RunSpec] = []
        skipped: Counter[str] = Counter()
        for spec in specs:
            if reason := skip_reason(spec, self.machine):
                record_end(self.paths, spec, Status.SKIPPED, reason)
                skipped[reason] += 1
                if spec.stage is Stage.PREPARE:
                    self.no_store = f"the store could not be packed: {reason}"
            else:
                possible.append(spec)
        for reason, runs in skipped.items():
            print(f"skipped {counted(runs, 'run')}: {reason}", file=sys.stderr)
        return possible

    def _run(self, spec: RunSpec) -> None:
        """Run ``spec``; where it cannot say itself why it failed, its record does."""
        if reads_store(spec.stage) and self.no_store is not None:
            record_end(self.paths, spec, Status.FAILED, self.no_store)
            return
        script, limit_min = self.paths.script(spec.run_id), spec.resources.time_limit_min
        run = self.paths.run(spec.run_id)
        make_ready(run, spec)
        self.made.append(spec)
        write_script(script, run_script(self.plan, spec, self.paths, self.site))
        with _affinity(self.machine.cpus[: spec.resources.cpus_per_node]):
            started = Family(["bash", str(script)])
        try:
            code = started.wait(SECONDS_PER_MINUTE * limit_min)
        except subprocess.TimeoutExpired:
            started.end()
            reason = f"exceeded its time limit of {limit_min} min"
            record_end(self.paths, spec, Status.TIMEOUT, reason)
        except BaseException as error:
            started.end()
            record_end(self.paths, spec, Status.CANCELLED, f"the sweep was {cli.how_ended(error)}")
            raise
        else:
            if code < 0 and not run.exit.exists():  # the script itself was killed
                write_json(run.exit, {"code": 128 - code, "ended_at": utc_now()})


@contextmanager
def _affinity(cpus: Sequence[int]) -> Iterator[None]:
    """Let processes started in the block inherit exactly ``cpus``, as a scheduler would do."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
