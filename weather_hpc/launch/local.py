"""The local executor: the same job scripts, run here, one after the other."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

from weather_hpc import cli
from weather_hpc.files import write_text
from weather_hpc.launch.machine import Machine, skip_reason, this_machine
from weather_hpc.launch.run_folder import make_ready, record_end
from weather_hpc.launch.script import run_script
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.record import Status
from weather_hpc.runs.state import State, run_state
from weather_hpc.slurm.accounting import refresh_accounting
from weather_hpc.slurm.jobs import JobState
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec, Stage

SECONDS_PER_MINUTE = 60.0
GRACE_S = 10.0
"""Seconds between asking a run to end and ending it."""


class LocalExecutor:
    """Runs a plan on this machine. Runs never overlap: they would time each other."""

    def __init__(self, plan: Plan, paths: StudyPaths, site: SiteProfile) -> None:
        self.plan = plan
        self.paths = paths
        self.site = site
        self.blocked: str | None = None
        """Why no training can be run: once the store could not be packed."""

    def active(self) -> dict[str, JobState]:
        """The runs that jobs from an earlier sweep have in hand, by run_id: not to be run here."""
        jobs = refresh_accounting(self.paths)
        return {run_id: job for run_id, job in jobs.items() if job.active}

    def run(self, specs: Sequence[RunSpec]) -> dict[str, State]:
        """Run ``specs`` in their order and go on after failures. The state of each at its end."""
        machine = this_machine(specs, self.site.python)
        ended: dict[str, State] = {}
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
                if spec.stage is Stage.PREPARE and state is not State.DONE:
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
                if state is State.FAILED:
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
