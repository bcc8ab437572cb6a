"""How long something takes on a device, whose work goes on after it was asked for."""

import time
from collections.abc import Callable
from statistics import median

import torch

REPEATS, UNCOUNTED = 5, 2


def wait(device: torch.device) -> None:
    """Until ``device`` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_s(
    work: Callable[[], object], device: torch.device, ready: Callable[[], object] | None = None
) -> float:
    """The median time of ``work``, s, over :data:`REPEATS` after some that do not count.

    ``ready`` comes before each, outside the time: it ends with a device that has nothing to do.
    """
    times = []
    for _ in range(UNCOUNTED + REPEATS):
        if ready is None:
            wait(device)
        else:
            ready()
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return median(times[UNCOUNTED:])
