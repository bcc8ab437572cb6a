"""The checks that ranks make together, on this node: torchrun starts the verb once a rank."""

import sys
from functools import cache

from weather_hpc.check.process import finished, last_words
from weather_hpc.check.runs import alone
from weather_hpc.check.session import Check, Found, Session, WrongError
from weather_hpc.errors import FailedError
from weather_hpc.runs.checks import ALL_REDUCE, BINDING, CheckResult, read_checks
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.train.ranks import torchrun

START_S = 20.0
"""Whichever of the two checks comes first starts the ranks; the other has its result at once."""


def checks_here(session: Session) -> list[Check]:
    """Where ranks of this node are, and how fast they exchange."""
    count = session.gpus or 2
    what = "GPUs" if session.gpus else "CPUs"
    name = f"{ALL_REDUCE}, {count} rank{'s' * (count > 1)} on 1 node"

    @cache
    def started() -> tuple[list[CheckResult], str]:
        return _start(session, count)

    def told(name: str) -> Found:
        results, end = started()
        result = next((one for one in results if one.name.startswith(name)), None)
        if result is None:
            raise FailedError(f"its ranks {end}")
        if not result.ok:
            raise WrongError(result.detail, result.figures)
        return Found(f"{result.detail} ({what})" if name == ALL_REDUCE else result.detail,
                     result.figures)  # fmt: skip

    return [
        Check(BINDING, START_S, lambda _: told(BINDING)),
        Check(name, START_S, lambda _: told(ALL_REDUCE)),
    ]


def _start(session: Session, count: int) -> tuple[list[CheckResult], str]:
    """What ``count`` ranks of this node find, and how they ended."""
    out = CheckPaths(session.work / "ranks")
    words = ["-m", "weather_hpc.check", "--device", session.device.value, "--out", str(out.root),
             "--only", BINDING, "--only", ALL_REDUCE]  # fmt: skip
    try:
        done = finished([sys.executable, *torchrun(1, count), *words], alone(), session.limit_s())
        end = f"ended with {done.returncode}: {last_words(done.stderr)}"
    except FailedError as late:
        end = str(late)
    return (read_checks(out.results)[0] if out.results.exists() else []), end
