"""What runs will cost, in node-hours, before they are submitted; ``--max-node-hours``.

A run is estimated from earlier runs in the same results folder:

- ``measured``: the median of runs of the same configuration;
- ``scaled``: the configuration of another size with the nearest number of workers. The run is
  assumed to take as long, and proportionally longer with fewer workers, more images or more
  epochs, but never less;
- ``time_limit``: else the most that it can cost, see :class:`Bound`, which no estimate exceeds.

Estimates say what is likely. A budget is compared with what the runs can cost at most.
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
from weather_hpc.runs.forecast_file import Expected
from weather_hpc.runs.node_hours import hours_of, nodes_of, spent
from weather_hpc.runs.record import Status
from weather_hpc.runs.run import Run
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.stages import MEASURED, reads_store
from weather_hpc.sweep.bounds import NO_REQUEUES, Bound
from weather_hpc.text import brief, counted

SIZE = ("workers", "world_size", "images", "epochs")
"""Settings in which a run may differ from the one that its duration is scaled from."""


class Basis(StrEnum):
    """What an estimate is based on."""

    MEASURED = "measured"
    SCALED = "scaled"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True)
class Estimate:
    """What one run will cost."""

    spec: RunSpec
    node_hours: float
    basis: Basis
    bound: Bound = NO_REQUEUES

    @property
    def at_most(self) -> float:
        """Node-hours if every try, as often as it may be requeued, runs until its time limit."""
        return self.bound.of(self.spec)


@dataclass(frozen=True)
class Forecast:
    """What runs will cost, and what the results folder has cost so far."""

    runs: tuple[Estimate, ...]
    """Runs that are still to be submitted."""
    active: tuple[Estimate, ...] = ()
    """Runs that are queued or running."""
    used: float = 0.0
    """Node-hours of earlier runs in this folder, failed ones included."""
    collecting: float = 0.0
    """Node-hours of the job that collects after the runs, at most; 0: the sweep collects itself."""

    @property
    def node_hours(self) -> float:
        """Of the runs that are still to be submitted; without an estimate its limit counts."""
        return sum((estimate.node_hours for estimate in self.runs), 0.0)

    @property
    def at_most(self) -> float:
        """What they cost at most, with the job that collects."""
        return sum((estimate.at_most for estimate in self.runs), self.collecting)

    @property
    def committed(self) -> float:
        """Node-hours used already or by queued and running runs."""
        return self.used + sum(estimate.node_hours for estimate in self.active)

    @property
    def committed_at_most(self) -> float:
        """The same, with all that queued and running runs can cost."""
        return self.used + sum(estimate.at_most for estimate in self.active)

    @property
    def estimated(self) -> float | None:
        """Node-hours of those of the runs that earlier ones say something about; None: of none."""
        known = [e.node_hours for e in self.runs if e.basis is not Basis.TIME_LIMIT]
        return sum(known) if known else None

    @property
    def not_estimated(self) -> float:
        """What the other runs cost at most, in node-hours."""
        return sum((e.at_most for e in self.runs if e.basis is Basis.TIME_LIMIT), 0.0)

    @property
    def from_earlier(self) -> int:
        """How many of the runs are estimated from earlier ones."""
        return sum(estimate.basis is not Basis.TIME_LIMIT for estimate in self.runs)

    @property
    def by_run(self) -> dict[str, Expected]:
        """What each of the runs that are still to be submitted is expected to cost, by run_id."""
        return {
            one.spec.run_id: Expected(
                None if one.basis is Basis.TIME_LIMIT else one.node_hours, one.at_most
            )
            for one in self.runs
        }

    @property
    def expected(self) -> str:
        """What the runs will cost, in words that keep estimates and limits apart."""
        count = len(self.runs)
        if self.estimated is None:
            return f"no earlier run to estimate from; {self._limits}"
        about = f"about {brief(self.estimated)} node-hours for"
        if self.from_earlier == count:
            return (
                f"{about} {counted(count, 'run')} by earlier runs "
                f"(at most {brief(self.at_most)} by the time limits{self._requeued})"
            )
        return (
            f"{about} {self.from_earlier} of {count} runs by earlier runs; the other "
            f"{count - self.from_earlier} at most {brief(self.not_estimated)} by their time "
            f"limits; all at most {brief(self.at_most)}{self._requeued}"
        )

    @property
    def _limits(self) -> str:
        """What the runs cost at most, and by which limits."""
        limits = sorted({e.spec.resources.time_limit_min for e in self.runs})
        each = " to ".join(str(limit) for limit in dict.fromkeys((limits[0], limits[-1])))
        return (
            f"at most {brief(self.at_most)} node-hours by the time limits ({each} min a run"
            f"{self._requeued})"
        )

    @property
    def _requeued(self) -> str:
        requeues = max((e.bound.requeues for e in self.runs), default=0)
        return f", requeued up to {counted(requeues, 'time')}" if requeues else ""

    def __str__(self) -> str:
        if not self.runs:
            return (
                f"forecast: nothing to run; {brief(self.committed)} node-hours used or queued here"
            )
        return f"forecast: {self.expected}; {brief(self.committed)} used or queued here"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, in node-hours.

        ``node_hours`` are estimates, and the most that runs without one can cost; ``estimated`` has
        the estimates alone, null where there is none. A budget is compared with ``bound``: what
        was used, and what queued, running and new runs cost at most.
        """
        return {
            "node_hours": self.node_hours,
            "at_most": self.at_most,
            "used": self.used,
            "in_hand": self.committed - self.used,
            "runs": len(self.runs),
            "from_earlier": self.from_earlier,
            "estimated": self.estimated,
            "not_estimated_at_most": self.not_estimated,
            "bound": self.committed_at_most + self.at_most,
        }


@dataclass(frozen=True)
class _Measured:
    """A measured configuration."""

    spec: RunSpec
    hours: float
    """The median duration of its runs, start-up included, h."""


def forecast(
    specs: Iterable[RunSpec],
    earlier: Sequence[Run] = (),
    active: Iterable[RunSpec] = (),
    bound: Bound = NO_REQUEUES,
) -> Forecast:
    """What ``specs`` will cost, estimated from the runs ``earlier`` in this folder."""
    measured = _measured(earlier)
    by_size: dict[str, list[_Measured]] = defaultdict(list)
    for one in measured.values():
        by_size[one.spec.same_except(*SIZE)].append(one)

    def estimate(spec: RunSpec) -> Estimate:
        basis, hours = Basis.TIME_LIMIT, math.inf
        if same := measured.get(spec.configuration):
            basis, hours = Basis.MEASURED, same.hours
        elif scaled := _scaled(spec, by_size.get(spec.same_except(*SIZE), [])):
            basis, hours = Basis.SCALED, scaled
        return Estimate(spec, min(hours * nodes_of(spec), bound.of(spec)), basis, bound)

    return Forecast(
        tuple(map(estimate, specs)), tuple(map(estimate, active)), sum(map(spent, earlier), 0.0)
    )


def _measured(runs: Iterable[Run]) -> dict[str, _Measured]:
    """The configurations that were measured without a failure, by name."""
    specs: dict[str, RunSpec] = {}
    durations: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        hours = hours_of(run)
        if run.spec is not None and run.status is Status.OK and hours is not None:
            name = run.row.configuration or run.spec.configuration
            specs.setdefault(name, run.spec)
            durations[name].append(hours)
    return {name: _Measured(specs[name], median(hours)) for name, hours in durations.items()}


def _scaled(spec: RunSpec, others: Sequence[_Measured]) -> float | None:
    """How long ``spec`` may take, h, from the nearest of ``others``; None where none can serve."""
    candidates = []
    for other in others:
        work, fewer = _work_ratio(spec, other.spec), other.spec.workers / spec.workers
        if work is not None:
            hours = other.hours * max(1.0, fewer) * max(1.0, work)
            candidates.append((abs(math.log(fewer)), -hours))
    return -min(candidates)[1] if candidates else None


def _work_ratio(spec: RunSpec, other: RunSpec) -> float | None:
    """Images times epochs relative to ``other``; None where one of them has no image count."""
    new, old = spec.task.images, other.task.images
    if (new is None) != (old is None):
        return None
    images = 1.0 if new is None or old is None else new / old
    return images * getattr(spec.task, "epochs", 1) / getattr(other.task, "epochs", 1)


def check_budget(forecast: Forecast, limit: float | None) -> None:
    """Raise UserError where a folder's runs, past and to come, can cost more than ``limit``.

    What counts is what they cost at most, not what is estimated. ``limit`` is in node-hours for the
    whole results folder; None: no limit. The error names the largest part of the study that fits.
    """
    committed = forecast.committed_at_most
    if limit is None or not forecast.runs or committed + forecast.at_most <= limit:
        return
    left = limit - committed - forecast.collecting
    raise UserError(
        f"--max-node-hours {limit:g}: {counted(len(forecast.runs), 'run')}: {forecast.expected}; "
        f"at most {brief(committed)} are used or queued here; nothing was submitted; "
        f"{_what_fits(forecast, left)}"
    )


def _what_fits(forecast: Forecast, left: float) -> str:
    if left <= 0:
        return "the budget is spent: raise it to continue"
    best = max(
        (part for part in _parts(forecast) if part.at_most <= left),
        key=lambda part: (part.runs, -part.at_most),
        default=None,
    )
    if best is not None:
        size = f"{counted(best.runs, 'run')}, at most {brief(best.at_most)} node-hours"
        return f"--only '{best.pattern}' would fit ({size})"
    cheapest = min(forecast.runs, key=lambda estimate: estimate.at_most)
    fewer = " or fewer max_requeues of the site" if cheapest.bound.requeues else ""
    return (
        f"no configuration fits: {cheapest.spec.run_id} alone may need {brief(cheapest.at_most)}; "
        f"a smaller time_limit_min{fewer} lowers that"
    )


@dataclass(frozen=True)
class _Part:
    """A part of a study, which ``--only`` selects by ``pattern``."""

    pattern: str
    at_most: float
    runs: int


def _parts(forecast: Forecast) -> Iterator[_Part]:
    runs = [e for e in forecast.runs if e.spec.stage in MEASURED]
    store = sum(e.at_most for e in forecast.runs if e.spec.stage is Stage.PREPARE)
    for pattern in dict.fromkeys(p for estimate in runs for p in _patterns(estimate)):
        selected = [e for e in runs if fnmatch.fnmatch(e.spec.run_id, pattern)]
        stored = any(reads_store(e.spec.stage) for e in selected)
        hours = sum(e.at_most for e in selected)
        yield _Part(pattern, hours + (store if stored else 0.0), len(selected))


def _patterns(estimate: Estimate) -> Iterator[str]:
    """``train-*``, ``train-ddp-*``, ... down to the configuration."""
    words = estimate.spec.label.split("-")
    for count in range(1, len(words) + 1):
        yield "-".join(words[:count]) + "-*"
