"""How much of the CPUs, GPUs and memory that it asked for each configuration used."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import Interval, median, median_interval
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Row
from weather_hpc.study.tasks import Device

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Share:
    """What was used of something that was asked for, in its unit; medians over the runs."""

    used: float
    asked: float

    @property
    def percent(self) -> float:
        """Used of asked."""
        return 100.0 * self.used / self.asked


@dataclass(frozen=True)
class Usage:
    """What the measured runs of one configuration used of what they held."""

    label: str
    method: str
    group: Group

    @cached_property
    def cpus(self) -> Share | None:
        """CPUs of rank 0's node, mean over measured time; None where not measured."""
        return _share((cpus_used(row), row.cpus_per_node) for row in self.group.measured)

    @cached_property
    def gpus(self) -> Share | None:
        """GPUs of all nodes: those held, and those in which a kernel ran, on average."""
        return _share((gpus_used(row), gpus_held(row)) for row in self.group.measured)

    @cached_property
    def memory(self) -> Share | None:
        """Peak memory of a node, MB, of what was asked for there, else of all that it has."""
        return _share((memory_peak(row), memory_held(row)) for row in self.group.measured)

    @property
    def hours(self) -> float:
        """Hours of measured time of all measured runs together."""
        return math.fsum(self.group.values("time_s")) / SECONDS_PER_HOUR

    @property
    def nodes(self) -> int:
        """Nodes of each run, as far as it is known."""
        return self.group.settings.nodes or 1

    @cached_property
    def images_per_j(self) -> list[float]:
        """Images for each joule that the GPUs used, run by run."""
        return [value for row in self.group.measured if (value := images_per_j(row)) is not None]

    @property
    def images_per_j_interval(self) -> Interval:
        """Of its median."""
        return median_interval(self.images_per_j)

    @property
    def cells(self) -> dict[str, Any]:
        """Its row of the table."""
        low, high = self.images_per_j_interval
        return {
            "configuration": self.label,
            "cpus_asked": self.cpus and self.cpus.asked,
            "cpus_used": self.cpus and self.cpus.used,
            "gpus_asked": self.gpus and self.gpus.asked,
            "gpus_used": self.gpus and self.gpus.used,
            "memory_available_mb": self.memory and self.memory.asked,
            "memory_peak_mb": self.memory and self.memory.used,
            "images_per_j": median(self.images_per_j),
            "images_per_j_low": low,
            "images_per_j_high": high,
            "energy_j": self.group.median("energy_j"),
        }

    @property
    def is_known(self) -> bool:
        """Whether anything is."""
        return any(value is not None for name, value in self.cells.items() if name[:4] != "conf")


def cpus_used(row: Row) -> float | None:
    """CPUs that a run used on rank 0's host in measured time, without other processes."""
    if row.host_cpu_percent is None or row.foreign_cpu_percent is None:
        return None
    return max(0.0, row.host_cpu_percent - row.foreign_cpu_percent) / 100.0


def gpus_held(row: Row) -> int | None:
    """GPUs of all nodes that a run asked for; None where not known, or it asked for none."""
    return (row.gpus_per_node or 0) * (row.nodes or 0) or None


def gpus_used(row: Row) -> float | None:
    """GPUs in which a kernel ran, on average over measured time."""
    if row.device == Device.CPU:
        return 0.0
    if row.device_use_percent is None or row.workers is None:
        return None
    return row.workers * row.device_use_percent / 100.0


def memory_peak(row: Row) -> float | None:
    """Peak memory on a node, MB: as Slurm saw it, else the sum of the ranks' peaks."""
    return row.ranks_memory_mb if row.slurm_max_rss_mb is None else row.slurm_max_rss_mb


def memory_held(row: Row) -> float | None:
    """Memory of a node that a run asked for, MB; of one that asked for none, the node's."""
    return row.host_memory_mb if row.memory_asked_mb is None else row.memory_asked_mb


def images_per_j(row: Row) -> float | None:
    """Images for each joule of the GPUs in measured time; None without a measured energy."""
    if not row.energy_j or row.images_per_s is None or row.time_s is None:
        return None
    return row.images_per_s * row.time_s / row.energy_j


def _share(pairs: Iterable[tuple[float | None, float | None]]) -> Share | None:
    known = [(used, asked) for used, asked in pairs if used is not None and asked]
    used, asked = median([one for one, _ in known]), median([one for _, one in known])
    return None if used is None or asked is None else Share(used, asked)


def usages(comparison: Comparison) -> list[Usage]:
    """What each configuration used, where anything is known, in the order of the tables."""
    return [usage for usage in _usages(comparison) if usage.is_known]


def _usages(comparison: Comparison) -> Iterator[Usage]:
    for stage in comparison.stages:
        for one in stage.configurations:
            if one.group.measured:
                row = one.group.settings
                method = row.strategy or row.engine or row.backend or ""
                yield Usage(stage.label(one), method, one.group)


def usage_table(found: Sequence[Usage]) -> Table:
    """A row for each configuration."""
    columns = [*found[0].cells] if found else []
    return Table(
        name="utilisation",
        title="Used of what was asked for",
        caption="Medians over the runs. cpus_asked and cpus_used: of rank 0's node, in measured "
        "time, without other processes. gpus_asked: on all nodes; gpus_used: those in which a "
        "kernel ran, on average over measured time. memory_peak_mb: of a node, as Slurm saw it, "
        "else the sum of the ranks' peaks, in which shared memory counts for each; "
        "memory_available_mb: what the job asked for on a node, else all that the node has. "
        "images_per_j: images for each joule of the GPUs in measured time.",
        columns=columns,
        rows=[usage.cells for usage in found],
    )
