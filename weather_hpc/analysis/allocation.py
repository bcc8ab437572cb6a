"""Allocation: nodes, and the CPUs and GPUs of each, that runs ask for and a user has."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import reduce

from weather_hpc.analysis.groups import Group
from weather_hpc.errors import UserError, nearest
from weather_hpc.study.tasks import Backend, Device
from weather_hpc.text import counted

EXAMPLE = "nodes=1,cpus=8,gpus=2"
_DEFAULTS = {"nodes": 1, "gpus": 0}
"""What is left out; the CPUs have to be given."""
_MOST_DIGITS = 6


@dataclass(frozen=True, order=True)
class Allocation:
    """So many nodes, each with so many CPUs and GPUs."""

    nodes: int
    cpus: int
    gpus: int

    @classmethod
    def parse(cls, text: str) -> "Allocation":
        """``nodes=1,cpus=8,gpus=2``: CPUs and GPUs of each node; in any order.

        Without nodes it is one, without gpus none. Raises UserError for anything else.
        """
        known = [field.name for field in fields(cls)]
        where = f"--allocation {text}"
        values: dict[str, int] = {}
        for part in text.split(","):
            name, _, number = (word.strip() for word in part.partition("="))
            if name not in known:
                raise UserError(
                    f"{where}: unknown name {name!r}{nearest(name, known)} (as in {EXAMPLE})"
                )
            if name in values:
                raise UserError(f"{where}: {name} is given twice; expected {EXAMPLE}")
            least = 0 if name == "gpus" else 1
            if not (number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS):
                raise UserError(f"{where}: {name}: expected a whole number, such as {EXAMPLE}")
            values[name] = int(number)
            if values[name] < least:
                raise UserError(f"{where}: {name}: expected {least} or more")
        if "cpus" not in values:
            raise UserError(f"{where}: cpus is missing; expected {EXAMPLE}")
        return cls(**_DEFAULTS | values)

    @classmethod
    def needed(cls, group: Group) -> "Allocation | None":
        """What the runs of ``group`` asked for; None where that is not known.

        GPUs count where they were used. Under dask-jobqueue a run's workers are jobs of their
        own, so it fits in no allocation.
        """
        found = []
        for row in group.measured:
            if row.nodes is None or row.cpus_per_node is None or row.gpus_per_node is None:
                return None
            if row.backend == Backend.DASK_JOBQUEUE:
                return None
            gpus = 0 if row.device == Device.CPU else row.gpus_per_node
            found.append(cls(row.nodes, row.cpus_per_node, gpus))
        return cls.joined(found) if found else None

    @classmethod
    def joined(cls, allocations: Iterable["Allocation"]) -> "Allocation":
        """The smallest that holds each of ``allocations``, of which there is at least one."""
        return reduce(
            lambda one, other: cls(
                max(one.nodes, other.nodes), max(one.cpus, other.cpus), max(one.gpus, other.gpus)
            ),
            allocations,
        )

    def holds(self, other: "Allocation") -> bool:
        """Whether what asks for ``other`` can run in this."""
        return other.nodes <= self.nodes and other.cpus <= self.cpus and other.gpus <= self.gpus

    def __str__(self) -> str:
        """Such as ``8 CPUs and 2 GPUs on 1 node``."""
        each = counted(self.cpus, "CPU")
        if self.gpus:
            each += f" and {counted(self.gpus, 'GPU')}"
        return f"{each} on {'1 node' if self.nodes == 1 else f'each of {self.nodes} nodes'}"
