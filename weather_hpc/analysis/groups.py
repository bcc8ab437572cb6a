"""Repeats of one configuration, together, in the order of the tables."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.outliers import Outlier, find_outliers
from weather_hpc.analysis.statistics import median
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Backend, Stage, Strategy


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
    def outliers(self) -> list[tuple[Row, Outlier]]:
        """The measured runs whose time is far from that of their repeats."""
        timed = [row for row in self.measured if row.time_s is not None]
        return [(timed[found.position], found) for found in find_outliers(self.values("time_s"))]

    @property
    def errors(self) -> list[str]:
        """Codes of the errors that the audit found in the measured runs."""
        told = [row.audit_errors.split("; ") for row in self.measured if row.audit_errors]
        return sorted({code for codes in told for code in codes})

    @property
    def note(self) -> str | None:
        """What a reader of the figures should know: runs missing, restarted or outlying."""
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
        outliers = self.outliers
        if outliers:
            times = ", ".join(f"{found.value:.3g} s" for _, found in outliers)
            notes.append(f"{len(outliers)} of {total} outlying: {times}")
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


def preprocess_groups(rows: Iterable[Row]) -> list[Group]:
    """The preprocessing runs of each configuration, in the table's order."""
    order = list(map(str, Backend))
    return sorted(
        group_rows(row for row in rows if row.stage == Stage.PREPROCESS),
        key=lambda g: (
            *_study_order(g.asked),
            _position(order, g.asked.backend),
            g.asked.workers or 0,
            g.asked.image_size_px or 0,
            g.asked.images_asked or 0,
        ),
    )


def training_groups(rows: Iterable[Row]) -> list[Group]:
    """The training runs of each configuration, in the table's order."""
    order = list(map(str, Strategy))
    return sorted(
        group_rows(row for row in rows if row.stage == Stage.TRAIN),
        key=lambda g: (
            *_study_order(g.asked),
            _position(order, g.asked.strategy),
            g.asked.device or "",
            g.asked.model or "",
            g.asked.nodes or 0,
            g.asked.workers or 0,
            g.asked.batch_size_per_device or 0,
            g.asked.batch_size_global or 0,
            g.asked.threads_per_rank or 0,
        ),
    )


GROUPS: dict[str, Callable[[Iterable[Row]], list[Group]]] = {
    "preprocess": preprocess_groups, "training": training_groups,
}  # fmt: skip
"""How each table's lines come of rows."""


def _study_order(row: Row) -> tuple[str, str]:
    return row.study or "", row.scaling or ""


def _position(order: Sequence[str], name: str | None) -> int:
    return order.index(name) if name in order else len(order)
