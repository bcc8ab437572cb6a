"""``python -m weather_hpc.check``: does this node compute correctly, and how fast?

python -m weather_hpc.check                       all that can be checked here
python -m weather_hpc.check --only ddp --only dp  checks with this in their names
sbatch jobs/check_2node.sbatch                    two nodes and the network between them

Prints a line for each check when it ends, the most valuable first. With GPUs it takes up to nine
minutes, without them one.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from weather_hpc import cli
from weather_hpc.files import temporary_folder

if TYPE_CHECKING:
    from weather_hpc.check.session import Check, Session
    from weather_hpc.runs.checks import CheckResult
    from weather_hpc.runs.paths import CheckPaths
    from weather_hpc.study.tasks import Device

SECONDS = 520.0
STATES = {True: "passed", False: "FAILED", None: "not done"}


@dataclass(frozen=True)
class CheckOptions:
    """The options of the verb."""

    device: "Device"
    seconds: float
    out: Path
    only: list[str]
    json: bool

    @property
    def lines(self) -> TextIO:
        """Where the line of each check is printed."""
        return cli.words(self.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Check. Exit code: 0; 1 if a check failed; 2 if what was requested is not available."""
    options = _parse(argv)
    from weather_hpc.check.session import Session
    from weather_hpc.errors import UserError
    from weather_hpc.runs.paths import CheckPaths
    from weather_hpc.study.tasks import Device
    from weather_hpc.train.cuda import usable_gpus, why_no_cuda
    from weather_hpc.train.ranks import torchrun_env

    env = torchrun_env()
    if options.device is Device.CUDA and not env.launched and (why := why_no_cuda()):
        raise UserError(f"--device cuda: {why}")
    if env.rank == 0:
        _make_folder(CheckPaths(options.out))
    with temporary_folder("check") as work:
        session = Session(options.device, usable_gpus(), options.out, work, options.seconds)
        run = _run_as_rank if env.launched else _run_alone
        results = run(session, options)
    if env.rank != 0:
        return cli.EXIT_OK
    counts = Counter(STATES[result.ok] for result in results)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"{summary or 'nothing to check'}; {session.paths.results}", file=options.lines)
    if options.json:
        checks = [result.model_dump() for result in results]
        value = {"out": str(options.out), "device": session.device.value, "checks": checks}
        cli.print_json(value)
    return cli.EXIT_FAILED if counts["FAILED"] else cli.EXIT_OK


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("check", description=__doc__)
    add = result.add_argument
    add("--device", default="auto", metavar="NAME",
        help="auto (GPUs where torch can use them), cpu or cuda")  # fmt: skip
    add("--seconds", type=_seconds, default=SECONDS, metavar="S",
        help="start no check that would not end by then")  # fmt: skip
    add("--out", type=Path, metavar="DIR",
        help="folder of check.jsonl and its files (default: results/check/<host>)")  # fmt: skip
    add("--only", action="append", default=[], metavar="TEXT",
        help="run only checks with this in their names; may be repeated")  # fmt: skip
    result.add_output()
    return result


def _parse(argv: Sequence[str] | None) -> CheckOptions:
    args = parser().parse_args(argv)
    from weather_hpc.errors import UserError, nearest
    from weather_hpc.runs.provenance import node_name
    from weather_hpc.study.tasks import Device

    if args.device not in list(Device):
        raise UserError(
            f"--device {args.device}: no such device{nearest(args.device, list(Device))}"
        )
    out = args.out or Path("results", "check", node_name())
    return CheckOptions(Device(args.device), args.seconds, out, args.only, args.json)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 up")
    return value


def _make_folder(paths: "CheckPaths") -> None:
    """Make the folder and the file in it. Raises UserError if that fails."""
    from weather_hpc.errors import UserError

    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        paths.results.open("a").close()
    except OSError as error:
        raise UserError(f"--out {paths.root}: cannot be written to: {error.strerror}") from None


def checks_of(session: "Session") -> "list[Check]":
    """All checks of a single process and of the ranks that it starts, the most valuable first."""
    from weather_hpc.check.node import bandwidth, versions
    from weather_hpc.check.ranks import checks_on_this_node
    from weather_hpc.check.session import Check
    from weather_hpc.check.training import compiled_on_gpus, on_a_cpu, on_gpus

    first = [Check("versions", 1, versions), Check("bandwidth", 5, bandwidth)]
    first += checks_on_this_node(session)
    if not session.gpus:
        return first + on_a_cpu()
    from weather_hpc.check.speed import checks_of_speed

    *speed, benchmark = checks_of_speed()
    return [*first, *on_gpus(session.gpus), *speed, benchmark, *compiled_on_gpus()]


def _run_alone(session: "Session", options: CheckOptions) -> "list[CheckResult]":
    from weather_hpc.check.session import select

    checks = select(checks_of(session), options.only)
    return session.run(checks, lambda result: _print(result, options))


def _run_as_rank(session: "Session", options: CheckOptions) -> "list[CheckResult]":
    """The checks of the ranks that torchrun has started together; results on rank 0 alone."""
    from weather_hpc.check.ranks import join, run_checks
    from weather_hpc.train.ranks import torchrun_env

    team = join(torchrun_env(), session.requested, session.gpus)
    try:
        return run_checks(team, session, options.only, lambda result: _print(result, options))
    finally:
        team.strategy.tear_down()


def _print(result: "CheckResult", options: CheckOptions) -> None:
    line = f"{STATES[result.ok]:<8} {result.name:<52} {result.seconds:7.1f} s  {result.detail}"
    print(line.rstrip(), file=options.lines, flush=True)


if __name__ == "__main__":
    cli.run("check", main, sys.argv[1:])
