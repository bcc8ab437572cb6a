"""The local executor: the same job scripts, run here, one after the other."""

import contextlib
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from weather_hpc import cli
from weather_hpc.files import write_text
from weather_hpc.launch.command import needs_cuda
from weather_hpc.launch.run_folder import make_ready, record_end
from weather_hpc.launch.script import run_script
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.record import Status
from weather_hpc.runs.state import RunState, run_state
from weather_hpc.slurm.accounting import refresh_accounting
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import Backend, PreprocessTask, RunSpec, Stage
from weather_hpc.text import one_line
from weather_hpc.train.ranks import lacking_gpus

SECONDS_PER_MINUTE = 60.0
GRACE_S = 10.0
"""Seconds between asking a run to end and ending it."""


_ASK_TORCH = """
import json
from weather_hpc.train.cuda import usable_gpus, why_no_cuda
print(json.dumps([usable_gpus(), why_no_cuda()]))
"""


@dataclass(frozen=True)
class Machine:
    """The parts of a machine that decide whether a run can be made."""

    cpus: tuple[int, ...]
    """CPUs this process may use."""
    gpus: int
    """CUDA GPUs that torch sees."""
    packages: frozenset[str]
    """Which of the optional packages are installed."""
    no_cuda: str | None = None
    """Why torch can compute on no GPU, where it was asked."""


def this_machine(specs: Sequence[RunSpec], python: str) -> Machine:
    """This machine. GPUs are counted, by ``python`` in a process of its own, if any run asks."""
    packages = frozenset(
        name for name in ("torch", "distributed") if importlib.util.find_spec(name) is not None
    )
    ask = any(_wants_gpu(spec) for spec in specs) and "torch" in packages
    gpus, no_cuda = _gpus(python) if ask else (0, None)
    return Machine(tuple(sorted(os.sched_getaffinity(0))), gpus, packages, no_cuda)


def _wants_gpu(spec: RunSpec) -> bool:
    return not isinstance(spec.task, PreprocessTask) and needs_cuda(spec.task)


@functools.cache
def _gpus(python: str) -> tuple[int, str | None]:
    """How many GPUs torch can compute on, and where it is none, why."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=120, check=True
        )
        gpus, why = json.loads(done.stdout)
        return gpus, why
    except subprocess.CalledProcessError as error:
        said = error.stderr.splitlines() or [f"exit code {error.returncode}"]
        return 0, f"{python} cannot tell: {said[-1]}"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return 0, f"{python} cannot tell: {one_line(error)}"


def skip_reason(spec: RunSpec, machine: Machine, oversubscribe: bool = False) -> str | None:
    """Why ``spec`` cannot be measured on ``machine``; None where it can."""
    task, asked = spec.task, spec.resources
    if asked.nodes > 1:
        return f"asks for {asked.nodes} nodes; the local executor has one"
    if isinstance(task, PreprocessTask):
        if task.backend is Backend.DASK_JOBQUEUE:
            return "backend dask-jobqueue needs Slurm; the local executor has none"
        by_dask = task.backend in (Backend.DASK, Backend.DASK_NAIVE)
        if by_dask and "distributed" not in machine.packages:
            return "dask is not installed: pip install 'weather_hpc[dask]'"
    else:
        if "torch" not in machine.packages:
            return "torch is not installed: pip install 'weather_hpc[train]'"
        if _wants_gpu(spec) and machine.gpus < asked.gpus_per_node:
            return lacking_gpus(asked.gpus_per_node, machine.gpus, machine.no_cuda)
    # CPUs beside those that threads compute on are for the asking; here there are those there are
    needed = asked.cpus_per_node
    if not isinstance(task, PreprocessTask):
        needed = task.threads_per_node(asked.nodes)
    if needed > len(machine.cpus) and not oversubscribe:
        return f"asks for {needed} CPUs; this machine gives {len(machine.cpus)}"
    return None


class LocalExecutor:
    """Runs a plan on this machine. Runs never overlap: they would time each other."""

    def __init__(self, plan: Plan, paths: StudyPaths, site: SiteProfile) -> None:
        self.plan = plan
        self.paths = paths
        self.site = site
        self.blocked: str | None = None
        """Why no training can be run: once the store could not be packed."""

    def active(self) -> dict[str, Job]:
        """The runs that jobs from an earlier sweep have in hand, by run_id: not to be run here."""
        jobs = refresh_accounting(self.paths)
        return {run_id: job for run_id, job in jobs.items() if job.active}

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Run ``specs`` in their order and go on after failures. The state of each at its end."""
        machine = this_machine(specs, self.site.python)
        ended: dict[str, RunState] = {}
        with cli.progress("starting", total=len(specs)) as advance:
            for number, spec in enumerate(specs, start=1):
                advance(0, text=spec.label)
                start = time.monotonic()
                reason = skip_reason(spec, machine, self.site.oversubscribe)
                if reason is not None:
                    record_end(self.paths, spec, Status.SKIPPED, reason)
                elif spec.stage is Stage.TRAIN and self.blocked is not None:
                    reason = self.blocked
                    record_end(self.paths, spec, Status.FAILED, reason)
                else:
                    self._run(spec, machine)
                state = run_state(self.paths.run(spec.run_id))
                ended[spec.run_id] = state
                if spec.stage is Stage.PREPARE and state is not RunState.DONE:
                    self.blocked = (
                        f"the store could not be packed: see {self.paths.run(spec.run_id).stderr}"
                    )
                note = f" ({reason})" if reason else ""
                seconds = time.monotonic() - start
                print(
                    f"[{number}/{len(specs)}] {spec.run_id}: {state}{note} {seconds:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
                if state is RunState.FAILED:
                    print(f"    see {self.paths.run(spec.run_id).stderr}", file=sys.stderr)
                advance()
        return ended

    def _run(self, spec: RunSpec, machine: Machine) -> None:
        run = self.paths.run(spec.run_id)
        script = self.paths.script(spec.run_id)
        make_ready(run, spec)
        write_text(script, run_script(self.plan, spec, self.paths, self.site))
        cpus = machine.cpus[: spec.resources.cpus_per_node]
        with _affinity(cpus):
            child = subprocess.Popen(["bash", str(script)], start_new_session=True)
        try:
            child.wait(timeout=SECONDS_PER_MINUTE * spec.resources.time_limit_min)
        except subprocess.TimeoutExpired:
            end(child)
            limit = spec.resources.time_limit_min
            record_end(self.paths, spec, Status.TIMEOUT, f"ran past its time limit of {limit} min")
        except BaseException:
            end(child)
            record_end(self.paths, spec, Status.CANCELLED, "the sweep was interrupted")
            raise


@contextmanager
def _affinity(cpus: Sequence[int]) -> Iterator[None]:
    """Let a child started in the block inherit exactly ``cpus``, as a scheduler would give it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def end(child: subprocess.Popen[bytes]) -> None:
    """End ``child``, which leads a session, and all that it started: first asked, then told.

    torchrun gives each rank a session of its own, out of the process group's reach.
    """
    family = psutil.Process(child.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    psutil.wait_procs(family, timeout=GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()
