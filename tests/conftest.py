"""Fixtures that every part of the suite may use."""

import os
from pathlib import Path

import hypothesis
import pytest

# a busy machine is no error of what is tested
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """The folder that holds the photographs: ``weapd-sample`` and ``weather5``.

    They are not part of the project. Where they are missing the test is skipped, and in CI,
    which must have them, it fails.
    """
    folder = Path(os.environ.get("WEATHER_HPC_IMAGES") or REPOSITORY.parent / "shared" / "data")
    if all((folder / name).is_dir() for name in ("weapd-sample", "weather5")):
        return folder
    reason = f"no photographs in {folder}: set WEATHER_HPC_IMAGES to weapd-sample's parent folder"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
