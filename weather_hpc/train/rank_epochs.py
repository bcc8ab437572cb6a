"""ranks.csv: what each rank did in each epoch, and the same lines on stdout.

The lines on stdout have the form in which the reproduced study's scripts printed them, so that
``collect`` reads a run's stdout.log as it reads their logs.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import append_csv, write_csv
from weather_hpc.reading import read_bytes

DECIMALS = 6


@dataclass(frozen=True)
class RankEpoch:
    """One rank's part of one epoch: a line of ranks.csv. Empty: unknown, or not this rank's."""

    epoch: int
    """From 1."""
    rank: int
    host: str
    loss: float | None
    """Mean over the rank's images; None: another rank has the losses (pipeline stages)."""
    accuracy: float | None
    images: int
    """Images that it handled."""
    time_s: float
    """Wall time of the epoch, equal on all ranks: they start and end it together."""
    computation_s: float | None
    data_wait_s: float | None
    communication_s: float | None

    @classmethod
    def from_cells(cls, cells: Mapping[str, str | None]) -> Self:
        """The line with these ``cells``. Raises KeyError or ValueError where it is incomplete."""
        text = {name: cells[name] or "" for name in COLUMNS}
        optional = {name: float(text[name]) if text[name] else None for name in _OPTIONAL}
        return cls(
            epoch=int(text["epoch"]),
            rank=int(text["rank"]),
            host=text["host"],
            images=int(text["images"]),
            time_s=float(text["time_s"]),
            **optional,
        )

    @property
    def text(self) -> str | None:
        """As the study printed it; None without a loss, which its form needs."""
        if self.loss is None or self.accuracy is None:
            return None
        return (
            f"Rank: {self.rank} || Epoch: {self.epoch} || Loss: {self.loss:.{DECIMALS}f} || "
            f"Accuracy: {self.accuracy:.{DECIMALS}f} || Time: {self.time_s:.{DECIMALS}f}"
        )


COLUMNS = [field.name for field in fields(RankEpoch)]
_OPTIONAL = ("loss", "accuracy", "computation_s", "data_wait_s", "communication_s")


class RankLog:
    """Appends to ``path`` (None: no file) and, where ``prints``, to stdout. On rank 0 alone."""

    def __init__(self, path: Path | None, *, prints: bool) -> None:
        self.path = path
        self.prints = prints
        self._seconds: dict[int, float] = {}
        """Of the ranks with lines on stdout: the time of all epochs printed, s."""

    def resume(self, epochs: int) -> None:
        """Keep the lines of the first ``epochs`` epochs, and print them again.

        Later ones are of an epoch that is computed again. stdout.log starts over with each process.
        Raises FailedError where the file cannot be written.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            kept = [line for line in _read(self.path) if line.epoch <= epochs]
            write_csv(self.path, COLUMNS, map(asdict, kept))
        except OSError as error:
            raise FailedError(f"{self.path}: cannot be written: {error.strerror}") from None
        self._print(kept)

    def add(self, lines: Sequence[RankEpoch]) -> None:
        """Add one epoch: a line of each rank."""
        if self.path is not None:
            append_csv(self.path, COLUMNS, map(_rounded, lines))
        self._print(lines)

    def end(self) -> None:
        """Print the measured time, s, of each rank that printed its epochs, by its own clock."""
        for time_s in self._seconds.values():
            print(f"{time_s:.{DECIMALS}f}", flush=True)

    def _print(self, lines: Iterable[RankEpoch]) -> None:
        for line in lines if self.prints else ():
            if line.text is not None:
                self._seconds[line.rank] = self._seconds.get(line.rank, 0.0) + line.time_s
                print(line.text, flush=True)


def _rounded(line: RankEpoch) -> dict[str, object]:
    return {
        name: round(value, DECIMALS) if isinstance(value, float) else value
        for name, value in vars(line).items()
    }


def _read(path: Path) -> list[RankEpoch]:
    """The lines of ``path`` in order; without those that a killed process left incomplete."""
    lines = []
    text = read_bytes(path).decode("utf-8", "replace")
    try:
        for cells in csv.DictReader(io.StringIO(text, newline="")):
            try:
                lines.append(RankEpoch.from_cells(cells))
            except (KeyError, ValueError, TypeError, OverflowError):
                continue
    except csv.Error as error:
        raise UserError(f"{path}: not CSV: {error}; move it away to resume without it") from None
    return lines
