"""POP's factors: what keeps several ranks or workers from computing all of the time.

The multiplicative model of the Performance Optimisation and Productivity centre of excellence
(POP standard metrics, https://co-design.pop-coe.eu/metrics/; Rosas, Gimenez and Labarta,
Scalability prediction for fundamental performance factors, Supercomputing Frontiers and
Innovations 1(2), 2014). Of one run, with the seconds that each of its N ranks computed:

- load balance: their mean over the largest;
- communication efficiency: the largest over the measured time. What is lost is all that is no
  computation: exchanges, but also waiting for data and work that only one process does;
- parallel efficiency: the product, all ranks' computation over N x the measured time;
- computation scaling: the baseline's computation over all ranks' (weak scaling: per image);
- global efficiency: the product of parallel efficiency and computation scaling.

A factor of a configuration is the median over its runs; those that need the baseline are ratios of
medians. So products of the columns hold for one run exactly, for several nearly.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.baselines import baseline_label
from weather_hpc.analysis.comparison import Comparison, Configuration, StageComparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import (
    NO_INTERVAL,
    Interval,
    median,
    median_interval,
    ratio_interval,
)
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Row
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted

LOW = 0.9
"""A load balance below costs more than a tenth of the time. POP calls 0.8 and more acceptable."""

MOST_NAMED = 3
"""Configurations that get a sentence; the table has them all."""

_FACTORS = (
    "load_balance", "communication_efficiency", "parallel_efficiency", "computation_scaling",
    "global_efficiency",
)  # fmt: skip

POP_COLUMNS = [
    "table", "configuration", "workers", "runs",
    *(f"{factor}{end}" for factor in _FACTORS for end in ("", "_low", "_high")),
    "computation_s", "slowest_rank", "slowest_host", "slowest_excess", "slowest_in_runs",
    "baseline",
]  # fmt: skip

_CAPTION = (
    "Load balance is the mean of the ranks' computation over the largest, communication_efficiency "
    "the largest over the measured time, parallel_efficiency their product, computation_scaling "
    "the baseline's computation over this one's, global_efficiency the product of both. "
    "computation_s is that of all ranks together, the median over the runs. slowest_rank computed "
    "longest, by slowest_excess of the mean, in slowest_in_runs of the runs. Configurations whose "
    "ranks' computation is not known are left out."
)


@dataclass(frozen=True)
class Computation:
    """What the ranks of one run computed."""

    ranks: int
    elapsed_s: float
    sum_s: float
    max_s: float
    images: float
    """Handled in ``elapsed_s``; every epoch counts."""

    @property
    def load_balance(self) -> float:
        """1: all computed equally long."""
        return self.sum_s / (self.ranks * self.max_s)

    @property
    def communication_efficiency(self) -> float:
        """1: the slowest computed all of the time."""
        return self.max_s / self.elapsed_s

    @property
    def parallel_efficiency(self) -> float:
        """1: all computed all of the time."""
        return self.sum_s / (self.ranks * self.elapsed_s)


def computation(row: Row) -> Computation | None:
    """Of the run in ``row``; None where that of some rank is not known."""
    ranks, elapsed_s, rate = row.world_size_actual, row.time_s, row.images_per_s
    sum_s, max_s = row.computation_sum_s, row.computation_max_s
    if not ranks or not elapsed_s or not rate or not sum_s or not max_s:
        return None
    return Computation(ranks, elapsed_s, sum_s, max_s, rate * elapsed_s)


def pop_table(comparison: Comparison) -> Table:
    """The factors of each configuration whose ranks' computation is known."""
    rows = [
        {column: cells.get(column) for column in POP_COLUMNS}
        for stage in comparison.stages
        for configuration in stage.configurations
        if (cells := _cells(stage, configuration)) is not None
    ]
    return Table("pop", "Load balance and parallel efficiency", _CAPTION, POP_COLUMNS, rows)


def imbalances(table: Table) -> list[str]:
    """Which configurations of :func:`pop_table` have a low load balance, and which rank is slow."""
    low = [row for row in table.rows if row["load_balance"] < LOW]
    return [_imbalance(row) for row in sorted(low, key=lambda row: float(row["load_balance"]))][
        :MOST_NAMED
    ]


def _imbalance(row: dict[str, Any]) -> str:
    worker = BY_TABLE[row["table"]].worker
    return (
        f"Load balance {row['load_balance']:.2f} with {row['configuration']}: {worker} "
        f"{row['slowest_rank']} on {row['slowest_host']} computes "
        f"{100 * row['slowest_excess']:.0f} % longer than the mean (slowest in "
        f"{row['slowest_in_runs']} of {counted(row['runs'], 'run')})."
    )


def _cells(stage: StageComparison, configuration: Configuration) -> dict[str, Any] | None:
    group, baseline = configuration.group, configuration.baseline
    known = _computations(group)
    if not known:
        return None
    cells = {
        "table": stage.table.name,
        "configuration": stage.label(configuration),
        "workers": known[0].ranks,
        "runs": len(known),
        "computation_s": median([one.sum_s for one in known]),
        **_slowest(group),
    }
    for name in _FACTORS[:3]:
        values = [getattr(one, name) for one in known]
        cells |= _with_interval(name, median(values), median_interval(values))
    reference = [] if baseline is None else _computations(baseline)
    if baseline is None or not reference:
        return cells
    if baseline is group:  # its computation scaling is exactly 1
        cells |= _with_interval("computation_scaling", 1.0, NO_INTERVAL)
        for end in ("", "_low", "_high"):
            cells[f"global_efficiency{end}"] = cells[f"parallel_efficiency{end}"]
        return cells | {"baseline": baseline_label(baseline)}
    needed = _costs(group, reference)
    for name, spent in (
        ("computation_scaling", _costs(group, known)),
        ("global_efficiency", _costs(group, known, idle=True)),
    ):
        above, below = median(needed), median(spent)
        if above is None or not below:
            continue
        cells |= _with_interval(name, above / below, ratio_interval(needed, spent))
    return cells | {"baseline": baseline_label(baseline)}


def _computations(group: Group) -> list[Computation]:
    return [one for row in group.measured if (one := computation(row)) is not None]


def _costs(group: Group, runs: Sequence[Computation], *, idle: bool = False) -> list[float]:
    """Run by run, what the work cost: seconds of computation, or of all ranks, ``idle`` or not.

    Weak scaling: per image.
    """
    return [
        (one.ranks * one.elapsed_s if idle else one.sum_s) / (one.images if group.is_weak else 1)
        for one in runs
    ]


def _slowest(group: Group) -> dict[str, Any]:
    """The rank that was most often the slowest; empty for one rank."""
    found = [
        (one, (row.slowest_rank, row.slowest_host))
        for row in group.measured
        if row.slowest_rank is not None and (one := computation(row)) is not None
    ]
    if not found:
        return {}
    (slowest, times), *_ = Counter(rank for _, rank in found).most_common()
    excess = median([1 / one.load_balance - 1 for one, rank in found if rank == slowest])
    return {
        "slowest_rank": slowest[0],
        "slowest_host": slowest[1],
        "slowest_excess": excess,
        "slowest_in_runs": times,
    }


def _with_interval(name: str, value: float | None, interval: Interval) -> dict[str, Any]:
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
