"""Planning, launching and collecting work without torch, Dask and submitit, and start fast."""

import json
import pkgutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

import weather_hpc
from weather_hpc.__main__ import VERBS

LIGHT = ("study", "runs", "slurm", "launch", "sweep", "logs", "collect", "analysis", "report")
HEAVY = ("torch", "torchvision", "dask", "distributed", "dask_jobqueue", "submitit")
SLOW_FOR_HELP = (*HEAVY, "pandas", "matplotlib", "numpy", "PIL", "pydantic")


def loaded_by(code: str, watched: Sequence[str]) -> list[str]:
    """Which of ``watched`` a fresh interpreter has loaded after ``code``."""
    tail = f"import json, sys; print(json.dumps([m for m in {list(watched)} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tail}"], capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def light_modules() -> list[str]:
    modules = pkgutil.walk_packages(weather_hpc.__path__, "weather_hpc.")
    return [m.name for m in modules if m.name.split(".")[1] in LIGHT]


def test_light_stages_load_nothing_heavy() -> None:
    names = light_modules()
    assert {name.split(".")[1] for name in names} == set(LIGHT)
    assert loaded_by("\n".join(f"import {name}" for name in names), HEAVY) == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_loads_nothing_slow(verb: str) -> None:
    code = (
        f"import {VERBS[verb][0]} as verb\n"
        "try:\n    verb.main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert loaded_by(code, SLOW_FOR_HELP) == []
