"""Functions that bench's tests run in fresh processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from weather_hpc.bench.timed_function import Timed


def sleep(outside_s: float, inside_s: float) -> Timed:
    """Sleep outside the measured time, then inside it; report the thread count."""
    time.sleep(outside_s)
    start = time.perf_counter()
    time.sleep(inside_s)
    facts = {"threads": os.environ["OMP_NUM_THREADS"], "folder": os.listdir()}  # noqa: PTH208
    return Timed(time.perf_counter() - start, facts)


def log_name(name: str, log: str, seconds: float) -> Timed:
    """Append ``name`` to the file ``log``; report ``seconds``."""
    with Path(log).open("a") as file:
        file.write(name + "\n")
    return Timed(seconds, {})


def hold(own_mb: int, child_mb: int) -> Timed:
    """Hold memory here and, at the same time, in a child."""
    code = f"import time; held = bytearray({child_mb} * 10**6); time.sleep(0.5)"
    start = time.perf_counter()
    held = bytearray(own_mb * 10**6)
    subprocess.run([sys.executable, "-c", code], check=True)
    return Timed(time.perf_counter() - start, {"held": len(held)})
