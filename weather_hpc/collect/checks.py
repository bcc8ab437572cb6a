"""What the check verb found of the machines that a study's runs were made on."""

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weather_hpc.analysis.table import Table
from weather_hpc.errors import UserError
from weather_hpc.runs.checks import ALL_REDUCE, CheckResult, read_checks
from weather_hpc.runs.inputs import check_size
from weather_hpc.text import clean

RESULTS = {True: "passed", False: "failed", None: "not done"}


@dataclass(frozen=True)
class Checked:
    """One call of the verb: ``<study>/check/<name>/check.jsonl``, read."""

    study: Path
    """The results folder that it is in."""
    name: str
    results: tuple[CheckResult, ...]
    fault: str | None
    """Why some of the file cannot be read; None: all of it can."""

    @property
    def source(self) -> str:
        """How findings name it."""
        return f"{self.study.name}/check/{self.name}"

    @property
    def place(self) -> str:
        """What was checked: calls whose names differ in a job's number only check the same."""
        return re.sub(r"-\d+$", "", self.name)


def read_checked(files: Iterable[Path]) -> list[Checked]:
    """``files`` read, whatever they hold."""
    return [_read(path) for path in files]


def _read(path: Path) -> Checked:
    folder = path.parent
    results: Sequence[CheckResult] = ()
    try:
        check_size(path)
        results, fault = read_checks(path)
    except (UserError, OSError) as error:
        fault = str(error)
    return Checked(folder.parent.parent, folder.name, tuple(results), fault)


class Network(BaseModel):
    """What an all-reduce between the ranks of one device and one number of nodes came to."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    source: str
    device: str
    nodes: int = Field(ge=1)
    ranks: int = Field(ge=2)
    gb_s: float = Field(gt=0, validation_alias="bus_gb_s_64mb")
    """Bus bandwidth at 64 MB, GB/s (1e9 bytes)."""


def networks(checked: Iterable[Checked]) -> list[Network]:
    """Every all-reduce that was measured, the newest last; what is no figure is left out."""
    found = []
    by_time = sorted(((r, one) for one in checked for r in one.results), key=lambda p: p[0].at)
    for result, one in by_time:
        if result.name.startswith(ALL_REDUCE):
            with contextlib.suppress(ValidationError):
                found.append(Network.model_validate({**result.figures, "source": one.source}))
    return found


def checks_table(checked: Iterable[Checked]) -> Table:
    """A line for each check of each call."""
    rows = [
        {
            "where": clean(one.source),
            "check": clean(result.name),
            "result": RESULTS[result.ok],
            "seconds": result.seconds,
            "detail": clean(result.detail) or None,
        }
        for one in checked
        for result in one.results
    ]
    return Table(
        name="checks",
        title="Machines checked",
        caption="What python -m weather_hpc.check found where the runs were made.",
        columns=["where", "check", "result", "seconds", "detail"],
        rows=rows,
    )
