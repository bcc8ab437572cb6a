"""What runs will cost, in node-hours, told before they are submitted.

A run is estimated from earlier runs in the same results folder:

- ``measured``: the median of runs of the same configuration;
- ``scaled``: the configuration of another size that is nearest to it in workers. The run is taken
  to last as long, and longer in proportion where it has fewer workers, more images or more
  epochs: that it may be faster is never counted on;
- ``time_limit``: else its nodes times its time limit, which no estimate ever exceeds.
"""

import fnmatch
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.runs.node_hours import MINUTES_PER_HOUR, hours_of, nodes_of, spent
from weather_hpc.runs.record import Status
from weather_hpc.runs.run import Run
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.text import counted

SIZE = ("workers", "world_size", "images", "epochs")
"""Settings in which a run may differ from the one that its duration is scaled from."""


class Source(StrEnum):
    """What an estimate comes from."""

    MEASURED = "measured"
    SCALED = "scaled"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True)
class Estimate:
    """What one run will cost."""

    spec: RunSpec
    node_hours: float
    source: Source

    @property
    def at_most(self) -> float:
        """Node-hours if it runs up to its time limit."""
        return _at_most(self.spec)


@dataclass(frozen=True)
class Forecast:
    """What runs will cost, beside what the results folder has cost so far."""

    runs: tuple[Estimate, ...]
    """Runs that are still to be submitted."""
    in_hand: tuple[Estimate, ...] = ()
    """Runs that wait in a queue or run."""
    used: float = 0.0
    """Node-hours that runs in this folder have taken, those that failed included."""

    @property
    def node_hours(self) -> float:
        """Of the runs that are still to be submitted."""
        return sum((estimate.node_hours for estimate in self.runs), 0.0)

    @property
    def at_most(self) -> float:
        """The same, if each runs up to its time limit."""
        return sum((estimate.at_most for estimate in self.runs), 0.0)

    @property
    def committed(self) -> float:
        """What is used already or will be by the runs in hand."""
        return self.used + sum(estimate.node_hours for estimate in self.in_hand)

    @property
    def from_earlier(self) -> int:
        """How many of the runs are estimated from earlier ones."""
        return sum(estimate.source is not Source.TIME_LIMIT for estimate in self.runs)

    def __str__(self) -> str:
        if not self.runs:
            return f"forecast: nothing to run; {self.committed:.3g} node-hours used or in hand here"
        return (
            f"forecast: {self.node_hours:.3g} node-hours (at most {self.at_most:.3g} by the time "
            f"limits), {self.from_earlier} of {len(self.runs)} runs estimated from earlier runs; "
            f"{self.committed:.3g} used or in hand here"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, in node-hours."""
        return {
            "node_hours": self.node_hours,
            "at_most": self.at_most,
            "used": self.used,
            "in_hand": self.committed - self.used,
            "runs": len(self.runs),
            "from_earlier": self.from_earlier,
        }


@dataclass(frozen=True)
class _Lasted:
    """A configuration that was measured, and how long its runs lasted, start-up included, h."""

    spec: RunSpec
    hours: float


def forecast(
    specs: Iterable[RunSpec], earlier: Sequence[Run] = (), in_hand: Iterable[RunSpec] = ()
) -> Forecast:
    """What ``specs`` will cost, as far as the runs ``earlier`` in this folder tell."""
    same = _measured(earlier)
    alike: dict[str, list[_Lasted]] = defaultdict(list)
    for lasted in same.values():
        alike[lasted.spec.same_except(*SIZE)].append(lasted)

    def estimate(spec: RunSpec) -> Estimate:
        source, hours = Source.TIME_LIMIT, math.inf
        if measured := same.get(spec.configuration):
            source, hours = Source.MEASURED, measured.hours
        elif scaled := _scaled(spec, alike.get(spec.same_except(*SIZE), [])):
            source, hours = Source.SCALED, scaled
        return Estimate(spec, min(hours * nodes_of(spec), _at_most(spec)), source)

    return Forecast(
        tuple(map(estimate, specs)), tuple(map(estimate, in_hand)), sum(map(spent, earlier), 0.0)
    )


def _measured(runs: Iterable[Run]) -> dict[str, _Lasted]:
    """The median of the runs that ended well, by their configuration."""
    specs: dict[str, RunSpec] = {}
    lasted: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        hours = hours_of(run)
        if run.spec is not None and run.status is Status.OK and hours is not None:
            name = run.row.configuration or run.spec.configuration
            specs.setdefault(name, run.spec)
            lasted[name].append(hours)
    return {name: _Lasted(specs[name], median(hours)) for name, hours in lasted.items()}


def _scaled(spec: RunSpec, others: Sequence[_Lasted]) -> float | None:
    """How long ``spec`` may last, h, judged by ``others`` of other sizes; None where none do."""
    found = []
    for other in others:
        work, fewer = _work_ratio(spec, other.spec), other.spec.workers / spec.workers
        if work is not None:
            hours = other.hours * max(1.0, fewer) * max(1.0, work)
            found.append((abs(math.log(fewer)), -hours))
    return -min(found)[1] if found else None


def _work_ratio(spec: RunSpec, other: RunSpec) -> float | None:
    """Images times epochs over those of ``other``; None where it cannot be told."""
    new, old = spec.task.images, other.task.images
    if (new is None) != (old is None):
        return None
    images = 1.0 if new is None or old is None else new / old
    return images * getattr(spec.task, "epochs", 1) / getattr(other.task, "epochs", 1)


def _at_most(spec: RunSpec) -> float:
    return nodes_of(spec) * spec.resources.time_limit_min / MINUTES_PER_HOUR


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
