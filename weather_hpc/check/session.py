"""One call of the check verb: runs its checks within a time limit and records their results."""

import math
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weather_hpc.check.runs import TrainRuns
from weather_hpc.check.workload import random_store
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.checks import CheckResult
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.study.tasks import Device
from weather_hpc.text import one_line

STALLED_S = 120.0
"""Limit of a process that a check starts, far above its usual time."""

OVERTIME_S = 40.0
"""By how much a check may exceed the session's time before its processes are killed."""

Figures = Mapping[str, str | float | int | None]
"""What a check has measured, by name."""

SMALL, PAPER = 32, 256
"""Sides of images, px: for the small networks and for the paper's."""

STORED = 40
"""Images of a small store: steps of 8 do not divide the number most checks train on."""


@dataclass(frozen=True)
class Passed:
    """The result of a check that passed."""

    detail: str
    figures: Figures = field(default_factory=dict)


class WrongError(Exception):
    """A check found something wrong; the text says what."""

    def __init__(self, detail: str, figures: Figures | None = None) -> None:
        super().__init__(detail)
        self.figures = figures or {}


class NotDoneError(Exception):
    """A check is impossible here; the text says why."""


@dataclass(frozen=True)
class Check:
    """One check, and about how many seconds it needs."""

    name: str
    needs_s: float
    function: Callable[["Session"], Passed]


class Session:
    """What checks share: the device, stores, runs of the train verb, the time limit."""

    def __init__(self, requested: Device, gpus: int, out: Path, work: Path, seconds: float) -> None:
        """``gpus``: those that torch can use; ``work``: a folder for temporary files."""
        self.requested = requested
        self.gpus = 0 if requested is Device.CPU else gpus
        self.device = Device.CUDA if self.gpus else Device.CPU
        self.paths = CheckPaths(out)
        self.work = work
        self.runs = TrainRuns(work, self.limit_s)
        self.deadline = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def limit_s(self) -> float:
        """Seconds after which a process that a check starts now is killed."""
        return max(1.0, min(STALLED_S, self.left_s() + OVERTIME_S))

    def store(self, side: int = SMALL, images: int = STORED) -> Path:
        """A store of random images, made at its first use."""
        path = self.work / f"store-{side}-{images}"
        return path if path.exists() else random_store(path, images, side)

    def run(
        self,
        checks: Iterable[Check],
        report: Callable[[CheckResult], None],
        agree: Callable[[bool], object] = bool,
    ) -> list[CheckResult]:
        """Run ``checks`` in order while time suffices; write and report each when it ends.

        ``agree`` is called before each check with whether it is run.
        """
        results = []
        for check in checks:
            agree(enough := self.left_s() >= check.needs_s)
            result = self._run(check, enough)
            results.append(result)
            result.append_to(self.paths.results)
            report(result)
        return results

    def _run(self, check: Check, enough: bool) -> CheckResult:
        start = time.monotonic()
        ok: bool | None = None
        figures: Figures = {}
        if not enough:
            left = max(0.0, self.left_s())
            detail = f"{left:.0f} s left, it needs about {check.needs_s:.0f} s"
        else:
            try:
                passed = check.function(self)
                ok, detail, figures = True, passed.detail, passed.figures
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
    """None for NaN and infinity, which JSON cannot represent; ``value`` otherwise."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def select(checks: Sequence[Check], texts: Sequence[str]) -> list[Check]:
    """The checks with one of ``texts`` in their names; all if there are no texts."""
    return [check for check in checks if not texts or any(text in check.name for text in texts)]
