"""The variables that every run gets, whatever starts it: threads, allocator, network interface."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weather_hpc.study.site import SiteProfile
    from weather_hpc.study.spec import RunSpec

# Large thresholds keep freed batch buffers in the process instead of giving their pages back and
# faulting them in anew at every step. glibc reads them before Python starts, hence from outside;
# baselines get them too, or a parallel run would look faster than it is.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}


THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""What libraries read their number of threads from; before they are imported."""


def thread_variables(threads: int) -> dict[str, str]:
    """The variables of a process that is to compute with ``threads`` threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def run_environment(spec: "RunSpec", site: "SiteProfile") -> dict[str, str]:
    """The variables of ``spec`` on ``site``; the site's own come last and win.

    Threads are always set: torchrun sets them only for more than one process, which would give
    a single process all cores and make it an unfair baseline.
    """
    from weather_hpc.study.spec import PreprocessTask

    task = spec.task
    threads = 1 if isinstance(task, PreprocessTask) else task.threads_per_rank
    variables = thread_variables(threads) | ALLOCATOR
    if not isinstance(task, PreprocessTask):
        # ranks of one node meet on loopback, also where the host's own name does not resolve
        interface = "lo" if spec.resources.nodes == 1 else site.slurm.interface
        if interface is not None:
            variables["GLOO_SOCKET_IFNAME"] = interface
        if spec.resources.nodes > 1 and interface is not None:
            variables["NCCL_SOCKET_IFNAME"] = interface
    return variables | site.environment
