"""Fixtures that every part of the suite may use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# GPUs are hidden from this process and from all that tests start (ranks, sweeps, jobs), so that a
# test has the same outcome whether or not the machine has any. CUDA reads the variable once in a
# process, so a test marked ``gpu`` starts one of its own, with what SEEN kept.
SEEN = "WEATHER_HPC_TESTS_SEE_GPUS"
if SEEN not in os.environ:  # pytest-xdist's workers inherit both
    os.environ[SEEN] = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# a busy machine is no error of what is tested
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

REPOSITORY = Path(__file__).resolve().parents[1]

LONGEST_ID = 100
"""Characters of a parameter in a test's name. Every worker of pytest-xdist sends all names."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """The name of a parameter that would be long; pytest numbers those that are alike."""
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_ID else None


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """What a test writes need not survive a power cut, and every table is flushed to disk."""

    def nothing(descriptor: int) -> None:
        """Flush nothing."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", nothing)
        yield


@pytest.fixture
def undrawn_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting draws no plots, which takes most of its time: all of them are empty.

    For tests that collect many times, of what is in tables, audit and summary.
    """
    from weather_hpc.report.drawing import PlotFiles

    nothing = PlotFiles("<svg></svg>", b"", b"")
    monkeypatch.setattr("weather_hpc.report.plots.render", lambda *_: nothing)


def _shared(variable: str, name: str, *holds: str) -> Path:
    """The shared folder ``name``, which is not part of the project.

    Where it is missing the test is skipped, and in CI, which must have it, it fails.
    """
    folder = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / name)
    if all((folder / each).is_dir() for each in holds):
        return folder
    reason = f"no {' or no '.join(holds)} in {folder}: set {variable} to their parent folder"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """The folder that holds the photographs: ``weapd-sample`` and ``weather5``."""
    return _shared("WEATHER_HPC_IMAGES", "data", "weapd-sample", "weather5")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of logs and images that were read wrong once, with what is right in cases.csv."""
    return _shared("WEATHER_HPC_CASES", "cases", "logs", "images")


def seeing_gpus() -> dict[str, str]:
    """The environment of a process that sees the GPUs that pytest was started with."""
    hidden = ("CUDA_VISIBLE_DEVICES", SEEN)
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if os.environ[SEEN] != "all":
        environment["CUDA_VISIBLE_DEVICES"] = os.environ[SEEN]
    return environment


@pytest.fixture(scope="session")
def gpus() -> int:
    """How many GPUs there are; without any the test is left out, and pytest's summary says so."""
    code = "import torch; print(torch.__version__, torch.cuda.device_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=seeing_gpus(), capture_output=True, text=True, check=True
    )
    version, count = done.stdout.split()
    if count == "0":
        pytest.skip(f"torch {version} sees no CUDA GPU")
    return int(count)
