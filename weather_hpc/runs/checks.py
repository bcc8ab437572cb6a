"""CheckResult: one thing that the check verb found of a machine. Crosses from there to collect.

Results stand in ``check.jsonl``, one JSON object a line, each written as soon as it is known, so
that a check which is cut off has left what it found.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from weather_hpc.errors import FailedError
from weather_hpc.runs.record import Part

BINDING = "binding"
"""Name of the check of which CPUs, GPU and network interface each rank has."""

ALL_REDUCE = "all-reduce"
"""What the names of checks of the network between ranks begin with. Their figures: ``device`` (cpu
or cuda), ``ranks``, ``nodes``, ``bus_gb_s_64mb`` (bus bandwidth at messages of 64 MB, GB/s, 1e9
bytes) and ``latency_us`` (of the smallest message)."""


class CheckResult(Part):
    """One check, done or left out."""

    name: str = Field(description="what was checked")
    ok: bool | None = Field(description="whether all was as it should be; null: not done")
    seconds: float = Field(description="how long it took, s")
    at: float = Field(description="UNIX time when it was known, s")
    detail: str = Field("", description="what was found, or why it was not done, in words")
    figures: dict[str, Any] = Field(default={}, description="what was measured, by name")

    def append_to(self, path: Path) -> None:
        """Add a line to ``path``, making its folder where needed.

        Raises ValueError on NaN, and FailedError where it cannot be written.
        """
        line = json.dumps(self.model_dump(), allow_nan=False) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise FailedError(f"{path}: cannot be written: {error.strerror}") from None


def read_checks(path: Path) -> tuple[list[CheckResult], str | None]:
    """The results in ``path`` in their order, and what is wrong with the first line that is none.

    A last line without its end is no fault: the check was cut off. Raises OSError where the file
    cannot be read.
    """
    found: list[CheckResult] = []
    wrong: str | None = None
    *lines, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            found.append(CheckResult.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            wrong = wrong or f"line {number}: {f'{where}: ' if where else ''}{first['msg']}"
    return found, wrong
