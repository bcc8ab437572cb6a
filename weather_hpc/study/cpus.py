"""How many CPUs of a node a run asks for."""

import math
from decimal import Decimal
from typing import Protocol

CPUS_PER_GPU = 2
"""One feeds the GPU, one is for the threads of loader and NCCL; the same for all strategies."""


class Computing(Protocol):
    """A task, as far as its CPUs depend on it."""

    @property
    def workers(self) -> int:
        """Workers or ranks on all nodes together."""

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``."""


def cpus_asked(
    task: Computing, nodes: int = 1, gpus_per_node: int = 0, cpus_per_worker: float | None = None
) -> int:
    """CPUs that ``task`` asks for on each of ``nodes``.

    ``cpus_per_worker`` for each worker (or rank), rounded up together and at least 1. Where it is
    None: one for each thread that computes, and at least CPUS_PER_GPU for each GPU.
    """
    if cpus_per_worker is None:
        return max(task.threads_per_node(nodes), CPUS_PER_GPU * gpus_per_node)
    workers = -(-task.workers // nodes)
    # as written: 100 times 1.1 is 110, but a little more in binary
    return max(1, math.ceil(workers * Decimal(repr(cpus_per_worker))))
