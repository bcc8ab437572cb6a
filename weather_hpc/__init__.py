"""weather_hpc: parallel-scaling studies of weather-image classification on SLURM clusters.

The pipeline, in order: :mod:`~weather_hpc.study` plans runs, :mod:`~weather_hpc.launch` starts
them, :mod:`~weather_hpc.preprocess` and :mod:`~weather_hpc.train` are what a run does,
:mod:`~weather_hpc.collect` reads back what they recorded, :mod:`~weather_hpc.analysis` compares
it and :mod:`~weather_hpc.report` shows it. :mod:`~weather_hpc.sweep` does all of that.
``weather_hpc.load("results/quick")`` gives the results to Python, see :mod:`~weather_hpc.api`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_API = ("Results", "load")


def __getattr__(name: str) -> Any:
    """The names of the API, imported when they are used: most processes need none of them."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("weather_hpc.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_API})
