"""The train verb with the networks that ``check`` compares losses with."""

import sys

from weather_hpc import cli
from weather_hpc.check.workload import NETWORKS as TINY
from weather_hpc.models.registry import MODELS
from weather_hpc.train.__main__ import main

__all__ = ["TINY"]

if __name__ == "__main__":
    MODELS.update(TINY)
    cli.run("train", main, sys.argv[1:])
