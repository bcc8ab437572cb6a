"""Environment variables of every run: threads, allocator, network interface."""

import math
import os
from typing import TYPE_CHECKING

from weather_hpc.errors import UserError

if TYPE_CHECKING:
    from weather_hpc.study.site import SiteProfile
    from weather_hpc.study.spec import RunSpec

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Large thresholds keep freed batch buffers in the process instead of returning their pages and
faulting them in again at every step. glibc reads them before Python starts; baselines get them too,
or parallel runs would look faster than they are."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""The variables from which libraries read their number of threads when they are imported."""


def seconds_from(variable: str, default_s: float) -> float:
    """The seconds that an environment variable holds; raises UserError where it holds none."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text or default_s)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise UserError(f"{variable}={text}: must be a number of seconds above 0")
    return seconds


def thread_variables(threads: int) -> dict[str, str]:
    """The variables of a process that computes with ``threads`` threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def run_environment(spec: "RunSpec", site: "SiteProfile") -> dict[str, str]:
    """The variables of ``spec`` on ``site``; the site's variables take precedence.

    Threads are always set: torchrun sets them only for more than one process, so a single process
    would get all cores and be an unfair baseline.
    """
    from weather_hpc.study.tasks import TrainTask

    task = spec.task
    threads = task.threads_per_rank if isinstance(task, TrainTask) else 1
    variables = thread_variables(threads) | ALLOCATOR
    if isinstance(task, TrainTask):
        # loopback works for ranks of one node, even if the host name does not resolve
        interface = "lo" if spec.resources.nodes == 1 else site.slurm.interface
        if interface is not None:
            variables["GLOO_SOCKET_IFNAME"] = interface
        if spec.resources.nodes > 1 and interface is not None:
            variables["NCCL_SOCKET_IFNAME"] = interface
    return variables | site.environment
