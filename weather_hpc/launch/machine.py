"""What this machine has, and why a run cannot be made on it."""

import functools
import importlib.util
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from weather_hpc.launch.command import needs_cuda
from weather_hpc.study.spec import Backend, PreprocessTask, RunSpec
from weather_hpc.text import one_line
from weather_hpc.train.ranks import lacking_gpus

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
