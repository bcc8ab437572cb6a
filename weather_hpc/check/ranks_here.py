"""The checks that ranks make together, on this node: torchrun starts the verb once a rank."""

import sys

from weather_hpc.check.process import finished, last_words
from weather_hpc.check.runs import STALLED_S, alone
from weather_hpc.check.session import Check, Found, Session, WrongError
from weather_hpc.errors import FailedError
from weather_hpc.paths import CheckPaths
from weather_hpc.records.checks import ALL_REDUCE, BINDING, CheckResult, read_checks


def checks_here(session: Session) -> list[Check]:
    """Where ranks of this node are, and how fast they exchange."""
    count = session.gpus or 2
    what = "GPUs" if session.gpus else "CPUs"
    name = f"{ALL_REDUCE}, {count} rank{'s' * (count > 1)} on 1 node"
    found: dict[str, CheckResult] = {}

    def told(name: str) -> Found:
        if not found:
            found.update(_start(session, count))
        result = next(r for key, r in found.items() if key.startswith(name))
        if not result.ok:
            raise WrongError(result.detail, result.figures)
        return Found(f"{result.detail} ({what})" if name == ALL_REDUCE else result.detail,
                     result.figures)  # fmt: skip

    return [
        Check(BINDING, 20, lambda _: told(BINDING)),
        Check(name, 5, lambda _: told(ALL_REDUCE)),
    ]


def _start(session: Session, count: int) -> dict[str, CheckResult]:
    """What ``count`` ranks of this node find, by name."""
    out = CheckPaths(session.work / "ranks")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    words = ["-m", "weather_hpc.check", "--device", session.device.value, "--out", str(out.root),
             "--only", BINDING, "--only", ALL_REDUCE]  # fmt: skip
    done = finished([sys.executable, *launcher, *words], alone(), STALLED_S)
    found = read_checks(out.results)[0] if out.results.exists() else []
    if len(found) < 2:
        raise FailedError(f"ranks ended with {done.returncode}: {last_words(done.stderr)}")
    return {result.name: result for result in found}
