"""One call of the check verb: which checks are made, in what time, and what comes of each."""

import math
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weather_hpc.check.runs import Runs
from weather_hpc.check.workload import random_store
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.checks import CheckResult
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.study.spec import Device
from weather_hpc.text import one_line

STALLED_S = 120.0
"""Far more than what a check starts takes, under torchrun too."""

OVERTIME_S = 40.0
"""By how much a check may overrun the session's time before what it has started is ended."""

Figures = Mapping[str, str | float | int | None]

SMALL, PAPER = 32, 256
"""Sides of images, px: for the small networks and for the paper's."""

STORED = 40
"""Images of a small store: steps of 8 do not divide what most checks train on."""


@dataclass(frozen=True)
class Found:
    """What a check came to where all was right."""

    detail: str
    figures: Figures = field(default_factory=dict)


class WrongError(Exception):
    """What a check found is not as it should be."""

    def __init__(self, detail: str, figures: Figures | None = None) -> None:
        super().__init__(detail)
        self.figures = figures or {}


class NotDoneError(Exception):
    """A check cannot be made here; the text says why."""


@dataclass(frozen=True)
class Check:
    """One check, and about how many seconds it needs."""

    name: str
    needs_s: float
    function: Callable[["Session"], Found]


class Session:
    """What checks share: the device, stores, runs, the time that is left."""

    def __init__(self, asked: Device, gpus: int, out: Path, work: Path, seconds: float) -> None:
        """``gpus``: those that torch can use; ``work``: a folder that is removed in the end."""
        self.asked = asked
        self.gpus = 0 if asked is Device.CPU else gpus
        self.device = Device.CUDA if self.gpus else Device.CPU
        self.paths = CheckPaths(out)
        self.work = work
        self.runs = Runs(work, self.limit_s)
        self.deadline = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds until the time is up."""
        return self.deadline - time.monotonic()

    def limit_s(self) -> float:
        """Seconds after which what a check starts has stalled."""
        return max(1.0, min(STALLED_S, self.left_s() + OVERTIME_S))

    def store(self, side: int = SMALL, images: int = STORED) -> Path:
        """A store of random images, made when it is first asked for."""
        path = self.work / f"store-{side}-{images}"
        return path if path.exists() else random_store(path, images, side)

    def make(
        self,
        checks: Iterable[Check],
        tell: Callable[[CheckResult], None],
        agree: Callable[[bool], object] = bool,
    ) -> list[CheckResult]:
        """Make ``checks`` in order while time suffices; each is told and written at once.

        ``agree`` is called before each with whether it is made.
        """
        results = []
        for check in checks:
            agree(enough := self.left_s() >= check.needs_s)
            result = self._make(check, enough)
            results.append(result)
            result.append_to(self.paths.results)
            tell(result)
        return results

    def _make(self, check: Check, enough: bool) -> CheckResult:
        start = time.monotonic()
        ok: bool | None = None
        figures: Figures = {}
        if not enough:
            left = max(0.0, self.left_s())
            detail = f"{left:.0f} s left, it needs about {check.needs_s:.0f} s"
        else:
            try:
                found = check.function(self)
                ok, detail, figures = True, found.detail, found.figures
            except NotDoneError as error:
                detail = one_line(error)
            except (FailedError, UserError) as error:
                ok, detail = False, one_line(error)
            except WrongError as error:
                ok, detail, figures = False, one_line(error), error.figures
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                ok, detail = False, f"{type(error).__name__}: {one_line(error)} ({place})"
        return CheckResult(
            name=check.name, ok=ok, seconds=round(time.monotonic() - start, 2), at=time.time(),
            detail=detail, figures={name: _finite(value) for name, value in figures.items()},
        )  # fmt: skip


def _finite(value: str | float | None) -> str | float | None:
    """None for NaN and infinity, which JSON has no words for; ``value`` otherwise."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def chosen(checks: Sequence[Check], texts: Sequence[str]) -> list[Check]:
    """Those with one of ``texts`` in their names; all where none is given."""
    return [check for check in checks if not texts or any(text in check.name for text in texts)]
