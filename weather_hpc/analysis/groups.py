"""Repeats of one configuration, together."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from weather_hpc.analysis.statistics import median
from weather_hpc.collect.row import Row


@dataclass(frozen=True)
class Group:
    """Runs of one configuration on one kind of device: those measured, and those that were not."""

    measured: tuple[Row, ...]
    others: tuple[Row, ...]

    @property
    def asked(self) -> Row:
        """Any of the runs: what was asked is the same in all."""
        return (self.measured or self.others)[0]

    def values(self, column: str) -> list[float]:
        """The figures of the measured runs in ``column``; a missing one is left out."""
        found = (getattr(row, column) for row in self.measured)
        return [float(value) for value in found if value is not None]

    def median(self, column: str) -> float | None:
        """The median of ``column`` over the measured runs; None where none has it."""
        return median(self.values(column))

    @property
    def note(self) -> str | None:
        """What a reader of the figures should know: runs that are missing or were restarted."""
        notes = []
        total = len(self.measured) + len(self.others)
        for (status, reason), count in Counter((r.status, r.reason) for r in self.others).items():
            word = "rejected" if status == "ok" else status
            share = f"{count} of {total} " if self.measured else ""
            notes.append(f"{share}{word}: {reason}")
        asked, used = self.asked.device_asked, self.asked.device
        if self.measured and asked not in (None, "auto", used):
            notes.append(f"{asked} was asked for, {used} was had")
        restarted = sum(bool(row.restarts) for row in self.measured)
        if restarted:
            notes.append(f"{restarted} of {total} restarted")
        return "; ".join(notes) or None


def group_rows(rows: Iterable[Row]) -> list[Group]:
    """``rows`` by configuration and, where repeats ran on different devices, by device."""
    configurations: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.configuration is not None:
            configurations[row.configuration].append(row)
    groups = []
    for members in configurations.values():
        measured: dict[str | None, list[Row]] = defaultdict(list)
        for row in members:
            if row.table is not None:
                measured[row.device].append(row)
        others = tuple(row for row in members if row.table is None)
        first, *more = measured.values() or [[]]
        groups.append(Group(tuple(first), others))
        groups += [Group(tuple(rows), ()) for rows in more]
    return groups
