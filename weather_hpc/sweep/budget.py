"""``--max-node-hours``: nothing is submitted that is forecast to cost more."""

import fnmatch
from collections.abc import Iterator

from weather_hpc.errors import UserError
from weather_hpc.study.spec import Stage
from weather_hpc.sweep.forecast import Estimate, Forecast
from weather_hpc.text import counted


def check_budget(forecast: Forecast, limit: float | None) -> None:
    """Raise UserError where a folder's runs, past and to come, cost more than ``limit``.

    ``limit`` is in node-hours, of the whole results folder; None: no limit. The error names
    the largest part of the study that would fit.
    """
    if limit is None or not forecast.runs or forecast.committed + forecast.node_hours <= limit:
        return
    left = limit - forecast.committed
    raise UserError(
        f"--max-node-hours {limit:g}: {counted(len(forecast.runs), 'run')} forecast to take "
        f"{forecast.node_hours:.3g} node-hours, {forecast.committed:.3g} are used or in hand here; "
        f"nothing was submitted; {_what_fits(forecast, left)}"
    )


def _what_fits(forecast: Forecast, left: float) -> str:
    if left <= 0:
        return "the budget is spent: give more to go on"
    best = max(
        (part for part in _parts(forecast) if part[1] <= left),
        key=lambda part: (part[2], -part[1]),
        default=None,
    )
    if best is not None:
        pattern, hours, count = best
        return f"--only '{pattern}' would fit ({counted(count, 'run')}, {hours:.3g} node-hours)"
    cheapest = min(forecast.runs, key=lambda estimate: estimate.node_hours)
    return (
        f"no configuration fits: {cheapest.spec.run_id} alone is forecast at "
        f"{cheapest.node_hours:.3g}; a smaller time_limit_min lowers what is not measured yet"
    )


def _parts(forecast: Forecast) -> Iterator[tuple[str, float, int]]:
    """Patterns for ``--only`` with the node-hours and the number of the runs they choose."""
    runs = [e for e in forecast.runs if e.spec.stage is not Stage.PREPARE]
    first = sum(e.node_hours for e in forecast.runs if e.spec.stage is Stage.PREPARE)
    for pattern in dict.fromkeys(p for estimate in runs for p in _patterns(estimate)):
        chosen = [e for e in runs if fnmatch.fnmatch(e.spec.run_id, pattern)]
        trains = any(e.spec.stage is Stage.TRAIN for e in chosen)
        hours = sum(e.node_hours for e in chosen)
        yield pattern, hours + (first if trains else 0.0), len(chosen)


def _patterns(estimate: Estimate) -> Iterator[str]:
    """``train-*``, ``train-ddp-*``, ... down to the configuration."""
    words = estimate.spec.label.split("-")
    for count in range(1, len(words) + 1):
        yield "-".join(words[:count]) + "-*"
