"""CheckResult: one result of the check verb. Crosses from there to collect.

Results are in ``check.jsonl``, one JSON object a line, each written when its check ends, so a verb
that is killed leaves the results before.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from weather_hpc.errors import FailedError
from weather_hpc.reading import first_error, read_bytes
from weather_hpc.runs.record import Part

BINDING = "binding"
"""Name of the check of the CPUs, GPU and network interface of each rank."""

ALL_REDUCE = "all-reduce"
"""Prefix of the names of checks of the network between ranks. Their ``figures``: ``device`` (cpu
or cuda), ``ranks``, ``nodes``, ``bus_gb_s_64mb`` (bus bandwidth at messages of 64 MB, GB/s, 1e9
bytes) and ``latency_us`` (of the smallest message)."""


class CheckResult(Part):
    """One check, run or not."""

    name: str = Field(description="name of the check")
    ok: bool | None = Field(description="whether the check passed; null: not done")
    seconds: float = Field(description="duration, seconds")
    at: float = Field(description="time when it ended, UNIX, seconds")
    detail: str = Field("", description="the result, or why it was not done, in one line")
    figures: dict[str, Any] = Field(default={}, description="measured values by name")

    def append_to(self, path: Path) -> None:
        """Append a line to ``path``; its folder is made.

        Raises ValueError on NaN, and FailedError if it cannot be written.
        """
        line = json.dumps(self.model_dump(), allow_nan=False) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise FailedError(f"{path}: cannot be written: {error.strerror}") from None


def read_checks(path: Path) -> tuple[list[CheckResult], str | None]:
    """The results in ``path`` in order, and the error in the first invalid line.

    An incomplete last line is not an error: the verb was killed. Raises UserError if the file
    cannot be read.
    """
    results: list[CheckResult] = []
    wrong: str | None = None
    *lines, _ = read_bytes(path).split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            results.append(CheckResult.model_validate_json(line))
        except ValidationError as error:
            wrong = wrong or f"line {number}: {first_error(error)}"
    return results, wrong
