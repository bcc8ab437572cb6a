"""``python -m weather_hpc.check``: does this node compute rightly, and how fast?

python -m weather_hpc.check                       all that can be checked here
python -m weather_hpc.check --only ddp --only dp  checks with this in their names
sbatch jobs/check_2node.sbatch                    two nodes and the network between them

A line for each check as soon as it is known, the most valuable first. With GPUs it takes up to nine
minutes, without them one.
"""

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from weather_hpc import cli

if TYPE_CHECKING:
    from weather_hpc.check.session import Check, Session
    from weather_hpc.runs.checks import CheckResult
    from weather_hpc.runs.paths import CheckPaths

SECONDS = 520.0
WORDS = {True: "passed", False: "FAILED", None: "not done"}


def main(argv: Sequence[str] | None = None) -> int:
    """Check. Exit code: 0; 1 where a check failed; 2 where what is asked for is not there."""
    args = _parser().parse_args(argv)
    from weather_hpc.errors import UserError
    from weather_hpc.runs.paths import CheckPaths
    from weather_hpc.runs.provenance import node_name
    from weather_hpc.study.spec import Device

    if args.device not in list(Device):
        known = ", ".join(Device)
        raise UserError(f"--device {args.device}: no such device; known: {known}")
    out = args.out or Path("results", "check", node_name())
    from weather_hpc.check.session import Session
    from weather_hpc.train.cuda import usable_gpus, why_no_cuda
    from weather_hpc.train.ranks import world_from

    asked, world = Device(args.device), world_from()
    if asked is Device.CUDA and not world.launched and (why := why_no_cuda()):
        raise UserError(f"--device cuda: {why}")
    if world.rank == 0:
        _make_room(CheckPaths(out))
    with tempfile.TemporaryDirectory(prefix="weather-hpc-check-") as work:
        session = Session(asked, usable_gpus(), out, Path(work), args.seconds)
        results = _together(session, args) if world.launched else _alone(session, args)
    if world.rank != 0:
        return cli.EXIT_OK
    counts = Counter(WORDS[result.ok] for result in results)
    summary = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{summary or 'nothing to check'}; {session.paths.results}", file=_human(args))
    if args.json:
        told = [result.model_dump() for result in results]
        cli.print_json({"out": str(out), "device": session.device.value, "checks": told})
    return cli.EXIT_FAILED if counts["FAILED"] else cli.EXIT_OK


def _parser() -> cli.Parser:
    parser = cli.Parser("check", description=__doc__)
    add = parser.add_argument
    add("--device", default="auto", metavar="NAME",
        help="auto (GPUs where torch can use them), cpu or cuda")  # fmt: skip
    add("--seconds", type=_seconds, default=SECONDS, metavar="S",
        help="begin no check that would not be done by then")  # fmt: skip
    add("--out", type=Path, metavar="DIR",
        help="for check.jsonl and what belongs to it (default: results/check/<host>)")  # fmt: skip
    add("--only", action="append", default=[], metavar="TEXT",
        help="make only checks with this in their names; may be repeated")  # fmt: skip
    parser.add_json()
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 up")
    return value


def _make_room(paths: "CheckPaths") -> None:
    """Make the folder, and the file in it. Raises UserError where that cannot be done."""
    from weather_hpc.errors import UserError

    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        paths.results.open("a").close()
    except OSError as error:
        raise UserError(f"--out {paths.root}: cannot be written to: {error.strerror}") from None


def _alone(session: "Session", args: argparse.Namespace) -> "list[CheckResult]":
    """All that one process can check, and the ranks that it starts."""
    from weather_hpc.check.session import chosen

    checks = chosen(checks_of(session), args.only)
    return session.make(checks, lambda result: _tell(result, args))


def checks_of(session: "Session") -> "list[Check]":
    """Every check that one process makes, the most valuable first, with the seconds it needs."""
    from weather_hpc.check.node import bandwidth, versions
    from weather_hpc.check.ranks import checks_here
    from weather_hpc.check.session import Check
    from weather_hpc.check.training import compiled_on_gpus, on_a_cpu, on_gpus

    first = [Check("versions", 1, versions), Check("bandwidth", 5, bandwidth)]
    first += checks_here(session)
    if not session.gpus:
        return first + on_a_cpu()
    from weather_hpc.check.speed import checks_of_speed

    *speed, race = checks_of_speed()
    return [*first, *on_gpus(session.gpus), *speed, race, *compiled_on_gpus()]


def _together(session: "Session", args: argparse.Namespace) -> "list[CheckResult]":
    """What the ranks that torchrun has started check together; rank 0's list."""
    from weather_hpc.check.ranks import make, meet
    from weather_hpc.train.ranks import world_from

    team = meet(world_from(), session.asked, session.gpus)
    try:
        return make(team, session, args.only, lambda result: _tell(result, args))
    finally:
        team.strategy.tear_down()


def _tell(result: "CheckResult", args: argparse.Namespace) -> None:
    line = f"{WORDS[result.ok]:<8} {result.name:<52} {result.seconds:7.1f} s  {result.detail}"
    print(line.rstrip(), file=_human(args), flush=True)


def _human(args: argparse.Namespace) -> TextIO:
    return sys.stderr if args.json else sys.stdout


if __name__ == "__main__":
    cli.run("check", main, sys.argv[1:])
