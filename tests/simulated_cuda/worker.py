"""A process with simulated devices that trains as it is told: to import torch takes seconds.

A line of JSON comes in for each run, with its command line; one goes out with its exit code, what
it printed, what it asked of the devices, and where the host waited for one in each epoch.
"""

import contextlib
import ctypes
import gc
import io
import json
import sys
import warnings
from typing import Any

from tests.simulated_cuda import install  # before torch
from tests.simulated_cuda.cuda import calls
from tests.simulated_cuda.waits import Watch
from tests.train.run_tiny import TINY
from weather_hpc import cli
from weather_hpc.models.registry import MODELS
from weather_hpc.train.__main__ import main
from weather_hpc.train.loop import Position, Trainer

waits: list[list[str]] = []
train_epoch = Trainer.train_epoch


def watched(self: Trainer, *arguments: Any) -> Position:
    with Watch() as watch:
        position = train_epoch(self, *arguments)
    waits.append(watch.found)
    return position


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Carry one run out. ``memory_mb``: how much of each device's memory is free."""
    calls.clear()
    waits.clear()
    gc.collect()  # what earlier runs have left in cycles
    before = install.DEVICE.memory_limit()
    if asked.get("memory_mb"):
        used = max(map(install.DEVICE.memory_used, range(install.GPUS)))
        install.DEVICE.set_memory_limit(ctypes.c_int64(used + round(asked["memory_mb"] * 1e6)))
    printed = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(action="error"),  # as in pytest
        ):
            code = cli.guarded("train", main, asked["argv"])
    finally:
        install.DEVICE.set_memory_limit(ctypes.c_int64(before))
    return {"code": code, "printed": printed.getvalue(), "calls": calls, "waits": waits}


if __name__ == "__main__":
    MODELS.update(TINY)
    Trainer.train_epoch = watched  # type: ignore[assignment, method-assign]
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
