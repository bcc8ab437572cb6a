"""Functions that bench's tests run in fresh processes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from weather_hpc.bench.timed_function import MEASURED
from weather_hpc.runs.clock import Clock


def sleep(clock: Clock, outside_s: float, inside_s: float) -> dict[str, Any]:
    """Sleep outside the measured time, then inside it; tell the thread count it was given."""
    time.sleep(outside_s)
    with clock.phase(MEASURED):
        time.sleep(inside_s)
    return {"threads": os.environ["OMP_NUM_THREADS"], "folder": os.listdir()}  # noqa: PTH208


def log_name(clock: Clock, name: str, log: str, seconds: float) -> dict[str, Any]:
    """Append ``name`` to the file ``log``; claim to have taken ``seconds``."""
    with Path(log).open("a") as file:
        file.write(name + "\n")
    clock.seconds[MEASURED] = seconds
    return {}


def hold(clock: Clock, own_mb: int, child_mb: int) -> dict[str, Any]:
    """Hold memory here and, at the same time, in a child."""
    code = f"import time; held = bytearray({child_mb} * 10**6); time.sleep(0.5)"
    with clock.phase(MEASURED):
        held = bytearray(own_mb * 10**6)
        subprocess.run([sys.executable, "-c", code], check=True)
    return {"held": len(held)}
