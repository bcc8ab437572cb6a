"""forecast.json: what each run was expected to cost when it was submitted last."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.reading import LARGEST_FILE, read_object
from weather_hpc.runs.inputs import is_seconds
from weather_hpc.runs.paths import StudyPaths

VERSION = 1


@dataclass(frozen=True)
class Expected:
    """What one run was expected to cost."""

    node_hours: float | None
    """Estimated from earlier runs; None: there was none to estimate from."""
    at_most: float
    """Node-hours if every try runs until its time limit."""


def add_forecast(paths: StudyPaths, runs: Mapping[str, Expected]) -> None:
    """Keep what ``runs``, by run_id, are expected to cost; replaces what was kept of them."""
    known = read_forecast(paths) | dict(runs)
    values = {run_id: asdict(expected) for run_id, expected in sorted(known.items())}
    write_json(paths.forecast, {"version": VERSION, "runs": values})


def read_forecast(paths: StudyPaths) -> dict[str, Expected]:
    """What runs were expected to cost, by run_id.

    Empty where there is no file, as in folders of earlier versions, or it is damaged; an entry
    that is wrong is left out.
    """
    try:
        value = read_object(paths.forecast, LARGEST_FILE)
    except UserError:
        return {}
    runs = value.get("runs")
    if value.get("version") != VERSION or not isinstance(runs, dict):
        return {}
    found = {run_id: _expected(entry) for run_id, entry in runs.items()}
    return {run_id: expected for run_id, expected in found.items() if expected is not None}


def _expected(entry: Any) -> Expected | None:
    if not isinstance(entry, dict):
        return None
    hours, most = entry.get("node_hours"), entry.get("at_most")
    if not is_seconds(most) or not (hours is None or is_seconds(hours)):
        return None
    return Expected(hours, most)
