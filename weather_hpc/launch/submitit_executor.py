"""The submitit executor: the Slurm executor's runs and ledger, with arrays submitted by submitit.

On the node, submitit's process replaces the batch shell. It runs the run's script; at the warning
before the time limit, or a preemption, it makes that script write a checkpoint and requeues the
job.
"""

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from weather_hpc.cli import EXIT_STOPPED
from weather_hpc.errors import UserError
from weather_hpc.files import own_folder
from weather_hpc.launch.first_runs import FirstRuns
from weather_hpc.launch.script import module_lines
from weather_hpc.launch.slurm_executor import SlurmExecutor
from weather_hpc.launch.watch import BetweenRuns, nothing
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.writer import read_spec
from weather_hpc.slurm import ledger
from weather_hpc.slurm.client import Slurm, environment, error_of, message
from weather_hpc.slurm.directives import JobOption, Shape, array_option, quote, sbatch_options
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec

WARNING = "USR2"
"""The signal that submitit takes as the warning before a job is stopped."""
LOOK_EVERY_S = 0.2
"""How often a job looks whether its script has ended."""


class SubmititExecutor(SlurmExecutor):
    """Submits a plan's runs through submitit; everything else is the Slurm executor's."""

    def __init__(
        self,
        plan: Plan,
        paths: StudyPaths,
        site: SiteProfile,
        first_runs: FirstRuns | None = None,
        between_runs: BetweenRuns = nothing,
        slurm: Slurm | None = None,
    ) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise UserError(
                "--executor submitit: it is not installed: pip install 'weather_hpc[submitit]'"
            )
        if "%" in str(paths.root):
            raise UserError(f"{paths.root}: submitit reads % as a pattern; give another --results")
        super().__init__(plan, paths, site, first_runs, between_runs, slurm)

    def active(self) -> dict[str, Job]:
        """The jobs of queued or running runs, by run_id; they are never submitted again."""
        jobs = super().active()
        self._write_pickles()
        return jobs

    def _submit_array(
        self, shape: Shape, specs: Sequence[RunSpec], options: list[JobOption]
    ) -> int:
        import submitit

        entry = self._entry(shape.label, specs)
        self._write_runs(specs, without_requeue(self.site), entry.token)
        # on the node, code is read from there
        folder = own_folder(self.paths.submitit(entry.token))
        # exec: the warning goes to the batch shell, so submitit must be that process
        executor = submitit.SlurmExecutor(
            folder, self._tries, python=f"exec {quote(self.site.python)}"
        )
        executor.update_parameters(
            **parameters(shape, len(specs), entry.job_name, options, self.site)
        )

        def submit() -> int:
            try:
                with _environment(environment()), executor.batch():
                    functions = [self._function(spec.run_id, entry.token) for spec in specs]
                    jobs = [executor.submit(function) for function in functions]
            except (
                submitit.core.utils.FailedJobError,
                submitit.core.utils.FailedSubmissionError,
            ) as error:
                raise error_of(f"sbatch: {message(str(error))}") from None
            return int(jobs[0].job_id.split("_")[0])

        job_id = self._record_submission(entry, submit)
        self._write_pickles()
        return job_id

    @property
    def _tries(self) -> int:
        """How often submitit may requeue: once more than the job, which counts for itself."""
        return self.site.slurm.max_requeues + 1

    def _function(self, run_id: str, token: str) -> "SubmititRun":
        slurm = self.site.slurm
        requeues = slurm.max_requeues if slurm.requeue else 0
        return SubmititRun(str(self.paths.script(run_id)), requeues, token)

    def _write_pickles(self) -> None:
        """Write the pickle that submitit reads on the node, for every task that has none yet.

        submitit itself writes them after it has submitted an array, but not for a single run,
        nor where the sweep dies or sbatch's answer is lost in between.
        """
        from submitit.core.utils import DelayedSubmission, JobPaths

        for entry in ledger.load(self.paths):
            folder = self.paths.submitit(entry.token)
            if entry.job_id is None or not folder.is_dir():
                continue
            own_folder(folder)
            for index, run_id in enumerate(entry.run_ids):
                pickled = JobPaths(folder, f"{entry.job_id}_{index}").submitted_pickle
                spec = read_spec(self.paths.run(run_id).root)
                if spec is None or pickled.exists():
                    continue
                delayed = DelayedSubmission(self._function(run_id, entry.token))
                delayed.set_timeout(spec.resources.time_limit_min, self._tries)
                delayed.dump(pickled.with_suffix(".part"))
                pickled.with_suffix(".part").rename(pickled)


@dataclass
class SubmititRun:
    """One run, as the function that submitit calls on the node."""

    script: str
    requeues: int
    """How often it may requeue itself."""
    token: str = ""
    """Of the submission: the script checks that it is still valid."""
    pid: int | None = field(default=None, init=False)
    """The script's process."""

    def __call__(self) -> None:
        """Run the script; its exit code becomes the job's."""
        # signals that arrive before the script's pid is known would not reach it
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
        argv = ["bash", self.script, self.token]
        self.pid = pid = os.posix_spawnp("bash", argv, os.environ, setsigmask=mask)
        # submitit ignores TERM; the script writes a checkpoint in the time that is left
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if code := _exit_code(pid):
            sys.exit(code)

    def checkpoint(self) -> Any:
        """Stop the run at a checkpoint; the same job again, which resumes there.

        submitit calls it at the warning, in the middle of the call above. A run that ends in
        another way, or has been requeued ``requeues`` times, ends the job.
        """
        from submitit.helpers import DelayedSubmission

        code = EXIT_STOPPED
        if self.pid is not None:
            os.kill(self.pid, signal.SIGUSR1)
            code = _exit_code(self.pid)
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if code != EXIT_STOPPED or restarts >= self.requeues:
            sys.exit(code)
        return DelayedSubmission(SubmititRun(self.script, self.requeues, self.token))


def _exit_code(pid: int) -> int:
    """Wait until the process ends; its exit code as a shell reports it.

    The process is left to be waited for again: a signal handler may interrupt one wait and wait
    itself. No wait is longer than LOOK_EVERY_S: Slurm sends CONT with each warning, and of two
    signals at once a thread of a library may take both. That wakes no wait of the main thread,
    the only one that runs Python's handlers.
    """
    while (ended := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is None:
        time.sleep(LOOK_EVERY_S)
    return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status


def parameters(
    shape: Shape, count: int, name: str, options: Sequence[JobOption], site: SiteProfile
) -> dict[str, Any]:
    """submitit's parameters for an array of ``count`` runs: the options of its sbatch script.

    ``options`` are further options. Of one that the site gives twice, the last counts.
    """
    # submitit chooses the log files, which it has to find again
    every = [
        *sbatch_options(shape, name, None, site.slurm, WARNING),
        *options,
        array_option(count, site.slurm),
    ]
    return {
        "time": shape.resources.time_limit_min,
        "use_srun": False,  # the run's script calls srun with the nodes and GPUs that it uses
        "setup": [*module_lines(site), f"export SUBMITIT_PREEMPT_SIGNAL={WARNING}"],
        "additional_parameters": {
            option.name.replace("-", "_"): True if option.value is None else option.value
            for option in every
        },
    }


def without_requeue(site: SiteProfile) -> SiteProfile:
    """``site`` for run scripts that leave requeueing to submitit."""
    return site.model_copy(update={"slurm": site.slurm.model_copy(update={"requeue": False})})


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set the environment to ``variables``: submitit gives its call of sbatch no other one."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
