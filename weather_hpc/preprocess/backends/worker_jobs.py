"""Dask workers as Slurm jobs: their resources, script, submission and cancelling."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

from dask_jobqueue.slurm import SLURMJob
from distributed import Security
from distributed.deploy.spec import ProcessInterface

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import named
from weather_hpc.preprocess.backends.dask import NO_MONITORING
from weather_hpc.preprocess.backends.dask_security import PRIVATE
from weather_hpc.preprocess.chunk import ONE_THREAD
from weather_hpc.runs.environment import ALLOCATOR
from weather_hpc.runs.error_line import error_in
from weather_hpc.slurm.client import Slurm, SlurmError, stderr_of
from weather_hpc.slurm.directives import Shape, quote, sbatch_options
from weather_hpc.slurm.jobs import SQUEUE_FORMAT, Job, parse_squeue
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import Resources, Stage
from weather_hpc.text import alike, clean

DEATH_TIMEOUT_S = 60
"""A worker without a scheduler for so long exits, and its job ends."""

PATIENCE_S = 60.0
"""How long the Slurm controller may be unreachable while workers are submitted or cancelled."""

LIFETIME, STAGGER = 0.9, 0.05
"""A worker retires at 90 ± 5 % of its job's time limit, before Slurm kills it in the middle of a
chunk; not all retire at the same time, though they started together."""


class WorkerJob(SLURMJob):  # type: ignore[misc]
    """One worker's job: its id is added to ``submitted``, or sbatch's refusal to ``refused``."""

    def __init__(
        self,
        *args: Any,
        refused: list[str],
        submitted: list[str],
        security: Any = None,
        **options: Any,
    ):
        # Dask would put the files of ``security`` on the worker's command line unquoted: the script
        # sets Dask's environment variables instead.
        del security
        super().__init__(*args, **options)
        self._refused, self._submitted = refused, submitted

    @property
    def worker_process_memory(self) -> str:
        """No limit of Dask's own, as in the other backends; Slurm's limit applies."""
        return "0"

    async def start(self) -> None:
        """Submit the job. A refusal is kept instead of raised: Dask would not report it."""
        try:
            await super().start()
            self._submitted.append(str(self.job_id))
        except SlurmError as error:
            self._refused.append(str(error))
            await ProcessInterface.start(self)

    async def _submit_job(self, script_filename: str) -> str:
        # with the same clean environment and retries as every other call of sbatch
        return await asyncio.to_thread(Slurm(PATIENCE_S), "sbatch", script_filename)


def job_options(
    site: SiteProfile, name: str, folder: Path, security: Security, time_limit_min: int
) -> dict[str, Any]:
    """The options of :class:`WorkerJob`: a job of one process with one thread.

    Everything from the site is quoted for the shell. ``folder`` takes the jobs' logs.
    """
    limit_min = site.slurm.dask_time_limit_min or time_limit_min
    return {
        "cores": 1,
        "processes": 1,
        "memory": "1GB",  # required by Dask; the job requests what the site says
        # replaces the batch shell, so that Slurm signals the worker itself
        "python": f"exec {quote(site.python)}",
        "worker_command": "weather_hpc.preprocess.backends.dask_worker",
        "interface": None if site.slurm.interface is None else quote(site.slurm.interface),
        "death_timeout": DEATH_TIMEOUT_S,
        "worker_extra_args": [
            # a process that is killed ends its job; a nanny would restart it unnoticed
            "--no-nanny",
            f"--lifetime {limit_min * 60 * LIFETIME:.0f}s",
            f"--lifetime-stagger {limit_min * 60 * STAGGER:.0f}s",
            "--no-dashboard",
            "--dashboard-address 127.0.0.1:0",
        ],
        "job_name": name,
        "job_script_prologue": _prologue(site, security),
        "job_directives_skip": ["#SBATCH"],  # Dask's own: the site has them all
        "job_extra_directives": _directives(site, name, folder, limit_min),
        "log_directory": None,
        "shebang": "#!/usr/bin/env bash",
    }


def _directives(site: SiteProfile, name: str, folder: Path, limit_min: int) -> list[str]:
    """The directives of a run's job, without those that only runs need."""
    slurm = site.slurm.model_copy(
        update={
            "memory_mb": site.slurm.dask_memory_mb,
            "mem_per_cpu_mb": None if site.slurm.dask_memory_mb else site.slurm.mem_per_cpu_mb,
            "requeue": False,  # a lost worker is replaced: a requeued one would be one too many
        }
    )
    resources = Resources(cpus_per_node=1, time_limit_min=limit_min)
    shape = Shape(Stage.PREPROCESS, resources, slurm.partition_for(0))
    log = f"{folder}/%j.log".replace("%", "%%").replace("%%j.log", "%j.log")
    options = sbatch_options(shape, name, log, slurm)
    return [quote(str(option)) for option in options if option.name != "signal"]


def _prologue(site: SiteProfile, security: Security) -> list[str]:
    """The site's set-up, and the driver's environment: same threads, same allocator."""
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    variables = {
        **ONE_THREAD,
        **{name: os.environ[name] for name in ALLOCATOR if name in os.environ},
        **site.environment,
        **{_variable(name): str(value) for name, value in (NO_MONITORING | PRIVATE).items()},
        f"{tls}CA_FILE": security.tls_ca_file,
        f"{tls}WORKER__CERT": security.tls_worker_cert,
        f"{tls}WORKER__KEY": security.tls_worker_key,
    }
    return [
        *(f"module load {quote(module)}" for module in site.modules),
        *site.setup,
        *(f"export {name}={quote(value)}" for name, value in variables.items()),
    ]


def _variable(setting: str) -> str:
    """The environment variable of Dask's ``setting``."""
    return "DASK_" + setting.upper().replace(".", "__").replace("-", "_")


def check_submission(script: str, folder: Path) -> None:
    """Raise UserError where sbatch would refuse such a job."""
    path = folder / "worker.sbatch"
    with named(path):
        path.write_text(script)
    try:
        Slurm(PATIENCE_S).patiently(lambda: stderr_of("sbatch", "--test-only", str(path)))
    except SlurmError as error:
        raise UserError(f"sbatch refuses the workers' jobs: {error}") from None


def in_queue(name: str) -> list[Job]:
    """The pending and running jobs called ``name``."""
    options = ("--noheader", "--me", f"--name={name}", f"--format={SQUEUE_FORMAT}")
    try:
        jobs = parse_squeue(Slurm(PATIENCE_S)("squeue", "--states=PD,CF,R", *options))
    except SlurmError as error:
        raise FailedError(f"squeue fails for the workers' jobs: {error}") from None
    return list(jobs.values())


def errors(folder: Path) -> str:
    """What the jobs' logs in ``folder`` say went wrong, each once; empty where they say nothing."""
    found = filter(None, map(error_in, sorted(folder.glob("*.log"))))
    return "; ".join({alike(line): clean(line) for line in found}.values())


def cancel(name: str) -> None:
    """Cancel every job called ``name``, even if its id was never received."""
    Slurm(PATIENCE_S)("scancel", f"--name={name}")


def clean_up(folder: Path, keep_logs: bool) -> None:
    """Remove ``folder``; with ``keep_logs`` only the key and certificate in it."""
    if keep_logs and any(folder.glob("*.log")):
        for path in (folder / "cert.pem", folder / "key.pem"):
            path.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
