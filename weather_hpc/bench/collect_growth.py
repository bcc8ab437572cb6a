"""How the time and the memory of collect grow, from a tenth of its inputs to all of them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.bench.collect_contestants import collect_command
from weather_hpc.bench.contestant import Contestant, Outcome
from weather_hpc.bench.made_records import STUDIES, study_folder
from weather_hpc.bench.process import Measurement, measure
from weather_hpc.bench.study_logs import PARTS, PATTERN, part_folder
from weather_hpc.bench.telling import console
from weather_hpc.errors import FailedError
from weather_hpc.text import one_line


@dataclass(frozen=True)
class Input:
    """Something to collect."""

    words: tuple[str, ...]
    """How the verb is told of it."""
    runs: int

    def __add__(self, other: "Input") -> "Input":
        return Input(self.words + other.words, self.runs + other.runs)


@dataclass(frozen=True)
class Growth:
    """What collect took for a tenth of something and for all of it."""

    what: str
    runs: tuple[int, int]
    seconds: tuple[float, float] | None = None
    peak_memory_mb: tuple[float, float] | None = None
    """MB (1e6 bytes)."""
    reason: str | None = None
    """How collect failed, or that it found another number of runs than there are."""

    @property
    def kb_per_run(self) -> float | None:
        """What each further run added to the peak, KB (1e3 bytes)."""
        if self.peak_memory_mb is None:
            return None
        (tenth_mb, all_mb), (tenth, whole) = self.peak_memory_mb, self.runs
        return (all_mb - tenth_mb) * 1000 / (whole - tenth)

    def as_dict(self) -> dict[str, Any]:
        """All figures, JSON-able."""
        return {**asdict(self), "kb_per_run": self.kb_per_run}


def measure_growth(records: Path, record_count: int, logs: Path, log_count: int) -> list[Growth]:
    """Collect run records, logs, and both, once each: a tenth, then all."""
    pattern = ("--pattern", PATTERN)
    some_records = Input((str(records / study_folder(0)),), _share(record_count, STUDIES))
    some_logs = Input((str(logs / part_folder(0)), *pattern), _share(log_count, PARTS))
    all_records = Input((str(records),), record_count)
    all_logs = Input((str(logs), *pattern), log_count)
    pairs = {
        "run records": (some_records, all_records),
        "logs": (some_logs, all_logs),
        "both together": (some_records + some_logs, all_records + all_logs),
    }
    with cli.progress("collecting a tenth, then all", total=len(pairs)) as advance:
        grown = []
        for what, pair in pairs.items():
            advance(0, text=f"collecting a tenth, then all: {what}")
            grown.append(_grow(what, *pair))
            advance()
    return grown


def _grow(what: str, tenth: Input, whole: Input) -> Growth:
    runs = (tenth.runs, whole.runs)
    try:
        few, many = _collect(tenth), _collect(whole)
    except FailedError as error:
        return Growth(what, runs, reason=one_line(error))
    peaks = (few.peak_memory_mb or 0.0, many.peak_memory_mb or 0.0)
    return Growth(what, runs, (few.wall_s, many.wall_s), peaks)


def print_growth(growth: list[Growth]) -> None:
    """Print it as a table on stderr."""
    from rich.markup import escape
    from rich.table import Table

    from weather_hpc.text import significant

    table = Table(
        title="weather_hpc collect as its input grows tenfold: process time and peak memory",
        caption="KB per run: what each further run added to the peak",
    )
    for heading in ("collected", "runs", "s", "peak MB", "KB per run"):
        table.add_column(heading, justify="left" if heading == "collected" else "right")
    for g in growth:
        if g.seconds is None or g.peak_memory_mb is None or g.kb_per_run is None:
            table.add_row(g.what, "failed")
            continue
        table.add_row(
            g.what,
            f"{g.runs[0]} → {g.runs[1]}",
            f"{significant(g.seconds[0])} → {significant(g.seconds[1])}",
            f"{g.peak_memory_mb[0]:.0f} → {g.peak_memory_mb[1]:.0f}",
            significant(g.kb_per_run),
        )
    to = console()
    to.print(table)
    for g in growth:
        if g.reason is not None:
            to.print(f"{g.what}: [bold]failed[/bold]: {escape(g.reason)}")


def _share(count: int, parts: int) -> int:
    """How many of ``count``, dealt out in turn, are in the first of ``parts``."""
    return -(-count // parts)


def _collect(wanted: Input) -> Measurement:
    def check(outcome: Outcome) -> None:
        told = json.loads(outcome.stdout.read_text().splitlines()[-1])
        if (told["runs"], told["in_tables"]) != (wanted.runs, wanted.runs):
            raise FailedError(
                f"collect found {told['runs']} runs, {told['in_tables']} in tables;"
                f" {wanted.runs} were made"
            )

    command = collect_command(*wanted.words)
    return measure(Contestant("collect", "the whole verb", command, check=check))
