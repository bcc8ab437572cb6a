"""The submitit executor: the Slurm executor's runs and ledger, with arrays submitted by submitit.

On the node submitit's process takes the place of the batch shell. It runs the run's own script;
on the warning before the time limit, or a preemption, it has that script write a checkpoint and
puts the job back in the queue.
"""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from weather_hpc.cli import EXIT_STOPPED
from weather_hpc.errors import UserError
from weather_hpc.launch.slurm_executor import SlurmExecutor
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.writer import read_spec
from weather_hpc.slurm import ledger
from weather_hpc.slurm.client import Slurm, environment, refusal
from weather_hpc.slurm.directives import Shape, array_option, directives, quote
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec

WARNING = "USR2"
"""What submitit takes for the warning that a job is about to be stopped."""


class SubmititExecutor(SlurmExecutor):
    """Submits a plan's runs through submitit; all the rest is the Slurm executor's."""

    def __init__(
        self, plan: Plan, paths: StudyPaths, site: SiteProfile, slurm: Slurm | None = None
    ) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise UserError(
                "--executor submitit: it is not installed here: pip install 'weather_hpc[submitit]'"
            )
        if "%" in str(paths.root):
            raise UserError(f"{paths.root}: submitit takes % for a pattern; choose other --results")
        super().__init__(plan, paths, site, slurm)

    def active(self) -> dict[str, Job]:
        """The jobs of runs that wait or run, by run_id; they are never submitted again."""
        found = super().active()
        self._hand_over()
        return found

    def _submit_array(self, shape: Shape, specs: Sequence[RunSpec], options: list[str]) -> int:
        import submitit

        self._write_runs(specs, without_requeue(self.site))
        entry = self._intent(shape, specs)
        folder = self.paths.submitit(entry.token)
        # exec: the warning goes to the batch shell, so submitit has to be that process
        executor = submitit.SlurmExecutor(
            folder, self._tries, python=f"exec {quote(self.site.python)}"
        )
        asked = parameters(shape, len(specs), entry.job_name, options, self.site)
        executor.update_parameters(**asked)

        def submit() -> int:
            try:
                with _environment(environment()), executor.batch():
                    jobs = [executor.submit(self._job(spec.run_id)) for spec in specs]
            except (
                submitit.core.utils.FailedJobError,
                submitit.core.utils.FailedSubmissionError,
            ) as error:
                raise refusal("sbatch", str(error)) from None
            return int(jobs[0].job_id.split("_")[0])

        job_id = self._once(entry, submit)
        self._hand_over()
        return job_id

    @property
    def _tries(self) -> int:
        """How often submitit may requeue: one more than a job does, which counts for itself."""
        return self.site.slurm.max_requeues + 1

    def _job(self, run_id: str) -> "SubmititRun":
        slurm = self.site.slurm
        return SubmititRun(
            str(self.paths.script(run_id)), slurm.max_requeues if slurm.requeue else 0
        )

    def _hand_over(self) -> None:
        """Write for every task what submitit looks for on the node, where it is not there yet.

        submitit does so itself after it has submitted an array: not for a single run, which it
        takes for no array, and not where the sweep dies or sbatch's answer is lost in between.
        """
        from submitit.core.utils import DelayedSubmission, JobPaths

        for entry in ledger.load(self.paths):
            folder = self.paths.submitit(entry.token)
            if entry.job_id is None or not folder.is_dir():
                continue
            for index, run_id in enumerate(entry.run_ids):
                pickled = JobPaths(folder, f"{entry.job_id}_{index}").submitted_pickle
                spec = read_spec(self.paths.run(run_id).root)
                if spec is None or pickled.exists():
                    continue
                delayed = DelayedSubmission(self._job(run_id))
                delayed.set_timeout(spec.resources.time_limit_min, self._tries)
                delayed.dump(pickled.with_suffix(".part"))
                pickled.with_suffix(".part").rename(pickled)


@dataclass
class SubmititRun:
    """One run, as submitit starts it on the node and stops it there."""

    script: str
    requeues: int
    """How often it may put itself back in the queue."""
    pid: int | None = field(default=None, init=False)
    """The process of the script."""

    def __call__(self) -> None:
        """Run the script to its end; its exit code becomes the job's."""
        self.pid = pid = os.posix_spawnp("bash", ["bash", self.script], os.environ)
        # submitit ignores a TERM; the script writes a checkpoint in what time is left
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
        if code := _exit_code(pid):
            sys.exit(code)

    def checkpoint(self) -> Any:
        """Have the run stop at a checkpoint; the same job once more, to go on from there.

        Called by submitit on the warning, in the middle of the call above. A run that did not
        stop for that, or has been requeued often enough, ends the job.
        """
        from submitit.helpers import DelayedSubmission

        code = EXIT_STOPPED
        if self.pid is not None:
            os.kill(self.pid, signal.SIGUSR1)
            code = _exit_code(self.pid)
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if code != EXIT_STOPPED or restarts >= self.requeues:
            sys.exit(code)
        return DelayedSubmission(SubmititRun(self.script, self.requeues))


def _exit_code(pid: int) -> int:
    """Wait for a child's end; its exit code as a shell tells it.

    The child is left to be waited for again: the handler of a signal may interrupt one wait,
    and wait itself.
    """
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if ended is None:
        raise ChildProcessError(pid)
    return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status


def parameters(
    shape: Shape, count: int, name: str, options: Sequence[str], site: SiteProfile
) -> dict[str, Any]:
    """submitit's parameters for an array of ``count`` runs: what sbatch is asked for otherwise.

    ``options`` are more of sbatch's. Of an option that the site gives twice, the last counts.
    """
    asked: dict[str, Any] = {}
    every = [*directives(shape, name, "", site.slurm), *options, array_option(count, site.slurm)]
    for option in every:
        key, given, value = option.removeprefix("--").partition("=")
        asked[key.replace("-", "_")] = value if given else True
    asked["signal"] = asked["signal"].replace("USR1", WARNING)
    for own in ("output", "error", "open_mode"):  # submitit has its logs where it looks for them
        del asked[own]
    modules = [f"module load {quote(module)}" for module in site.modules]
    return {
        "time": shape.resources.time_limit_min,
        "use_srun": False,  # the run's script calls srun, for the nodes and GPUs that it is to use
        "setup": [*modules, *site.setup, f"export SUBMITIT_PREEMPT_SIGNAL={WARNING}"],
        "additional_parameters": asked,
    }


def without_requeue(site: SiteProfile) -> SiteProfile:
    """``site`` for run scripts that leave it to submitit to put a job back in the queue."""
    return site.model_copy(update={"slurm": site.slurm.model_copy(update={"requeue": False})})


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Have only ``variables`` in the environment: submitit's call of sbatch takes no other."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
