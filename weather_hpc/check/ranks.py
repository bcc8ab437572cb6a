"""Checks that several ranks make together: where they are, how fast they exchange, what they learn.

torchrun starts the verb once a rank, on one node or several. All ranks make the same checks in the
same order; rank 0 alone tells and writes, and decides whether time suffices.
"""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.distributed as dist

from weather_hpc.check.binding import judge, place_of
from weather_hpc.check.node import median_s, versions, wait
from weather_hpc.check.runs import alone, finished, last_words
from weather_hpc.check.session import Check, Found, Session, WrongError, chosen
from weather_hpc.check.training import SAME, near
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.checks import ALL_REDUCE, BINDING, CheckResult, read_checks
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.runs.provenance import node_name
from weather_hpc.study.spec import Device
from weather_hpc.text import one_line
from weather_hpc.train.cuda import why_no_cuda
from weather_hpc.train.ranks import (
    Rank,
    Ranks,
    Unavailable,
    World,
    agreed_device,
    lacking_gpus,
    torchrun,
)
from weather_hpc.train.strategies.distributed import Distributed

SILENT = Found("")
"""What ranks other than 0 find."""


@dataclass(frozen=True)
class Team:
    """The ranks, met."""

    ranks: Ranks
    strategy: Distributed

    @property
    def nodes(self) -> list[str]:
        """Each once, in the order of the ranks."""
        return list(dict.fromkeys(rank.host for rank in self.ranks.all))

    def on(self, node: str) -> list[int]:
        """The ranks of a node."""
        return [rank.rank for rank in self.ranks.all if rank.host == node]


def meet(world: World, asked: Device, gpus: int) -> Team:
    """Join the other ranks. Raises UserError where they cannot compute on what is asked for."""
    device, lacks = Device.CPU, ""
    if asked is not Device.CPU and gpus >= world.local_size:
        device = Device.CUDA
    elif asked is Device.CUDA:
        lacks = lacking_gpus(world.local_size, gpus, why_no_cuda())
    own = Rank(world.rank, node_name(), os.getpid(), None if lacks else device, lacks)
    ranks = Ranks(world, own)
    try:
        agreed = agreed_device(ranks.all)
    except Unavailable as lacking:
        raise UserError(f"--device {asked}: {lacking}") from None
    local = world.local_rank if agreed is Device.CUDA else None
    place = torch.device("cpu") if local is None else torch.device("cuda", local)
    strategy = Distributed(place, world, world.size)
    strategy.set_up(ranks.store)
    return Team(ranks, strategy)


def checks_of(team: Team) -> list[Check]:
    """Those that ``team`` can make, most valuable first."""
    size, nodes = team.ranks.world.size, team.nodes
    where = f"{size} ranks on {len(nodes)} node" + ("s" if len(nodes) > 1 else "")
    checks = [
        Check("versions", 1, lambda session: versions(session) if _leads(team) else SILENT),
        Check(BINDING, 2, lambda session: _binding(team)),
        Check(f"{ALL_REDUCE}, {where}", 30, lambda session: _all_reduce(team, None)),
    ]
    crowded = next((node for node in nodes if len(team.on(node)) > 1), None)
    if len(nodes) > 1 and crowded is not None:
        own = team.on(crowded)
        name = f"{ALL_REDUCE}, {len(own)} ranks on 1 node"
        checks.append(Check(name, 15, lambda session: _all_reduce(team, own)))
    if size > 1:
        for strategy, most in (("ddp", 10), ("model", 4)):
            if size <= most:
                name = f"{strategy} on {where} = one process"
                learn = _learn(team, strategy)
                checks.append(Check(name, 30, learn))
    return checks


def make(
    team: Team, session: Session, texts: Sequence[str], tell: Callable[[CheckResult], None]
) -> list[CheckResult]:
    """Make the checks. On ranks other than 0 nothing is told, and the list is empty."""
    checks = chosen(checks_of(team), texts)
    if not _leads(team):
        for check in checks:
            if _agreed(team, None):
                try:
                    check.function(session)
                except Exception as error:  # it comes to the next check all the same
                    rank = team.ranks.world.rank
                    print(f"rank {rank}: {check.name}: {one_line(error)}", file=sys.stderr)
        return []
    # rank 0 tells the others, before each check, whether it is made
    return session.make(checks, tell, lambda enough: _agreed(team, enough))


def _leads(team: Team) -> bool:
    return team.ranks.world.rank == 0


def _agreed(team: Team, enough: bool | None) -> bool:
    told = [enough]
    dist.broadcast_object_list(told)
    return bool(told[0])


def _binding(team: Team) -> Found:
    rank, device = team.ranks.world.rank, team.strategy.device
    places = team.strategy.gather(place_of(rank, device, torch.get_num_threads()))
    return judge(places) if _leads(team) else SILENT


def _all_reduce(team: Team, own: list[int] | None) -> Found:
    """Of all ranks, or of those of one node; rank 0 is on the node whose ranks measure."""
    device, rank = team.strategy.device, team.ranks.world.rank
    group = None if own is None else dist.new_group(own)
    seconds = all_reduce_s(device, group) if own is None or rank in own else {}
    team.strategy.barrier()
    told = team.strategy.gather(seconds)
    if not _leads(team):
        return SILENT
    measured = next(one for one in told if one)
    ranks, nodes = (len(team.ranks.all), len(team.nodes)) if own is None else (len(own), 1)
    return bandwidths(measured, device.type, ranks, nodes)


def _learn(team: Team, strategy: str) -> Callable[[Session], Found]:
    def learn(session: Session) -> Found:
        """The ranks together come to the losses of one process."""
        size, device = team.ranks.world.size, team.strategy.device.type
        port = [_free_port()]
        dist.broadcast_object_list(port)  # first: what may fail on one rank comes after it
        base = ["--store", session.store(), "--model", "tiny_deep", "--epochs", 2,
                "--device", device, "--batch-size", 2 * size, "--batch-mode", "global"]  # fmt: skip
        ran = session.runs.beside(port[0], *base, "--strategy", strategy, "--world-size", size)
        if ran is None:
            return SILENT
        alone = session.runs.apart(*base)
        return near(ran.losses, alone.losses, SAME, f"through {ran.exchange or 'pipelines'}")

    return learn


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port


SIZES = {
    "4b": 4, "1kb": 1_000, "32kb": 32_000, "1mb": 1_000_000, "8mb": 8_000_000, "64mb": 64_000_000,
}  # fmt: skip
"""Bytes of a message, of float32."""


AT_ONCE_BYTES = 20_000_000
"""Small messages are sent often in a row, up to so many bytes, and timed together."""


MOST_AT_ONCE = 20


def all_reduce_s(device: torch.device, group: Any = None) -> dict[str, float]:
    """Seconds of one all-reduce of each of :data:`SIZES`, the median of several. Collective."""
    return {name: _all_reduce_of_size_s(size, device, group) for name, size in SIZES.items()}


def _all_reduce_of_size_s(size: int, device: torch.device, group: Any) -> float:
    message, tiny = torch.zeros(size // 4, device=device), torch.zeros(1, device=device)
    count = max(1, min(MOST_AT_ONCE, AT_ONCE_BYTES // size))

    def meet() -> None:
        dist.all_reduce(tiny, group=group)
        wait(device)

    def exchange() -> None:
        for _ in range(count):
            dist.all_reduce(message, group=group)

    return median_s(exchange, device, meet) / count


def bandwidths(seconds: dict[str, float], device: str, ranks: int, nodes: int) -> Found:
    """Bus bandwidths, 2 (n - 1) / n of the message's bytes a second, and the least latency.

    One rank sends nothing: of it there are times alone.
    """
    figures: dict[str, Any] = {"device": device, "ranks": ranks, "nodes": nodes}
    figures |= {f"time_us_{name}": round(s * 1e6, 2) for name, s in seconds.items()}
    figures["latency_us"] = figures["time_us_4b"]
    if ranks == 1:
        detail = f"one rank has nobody to send to: {figures['latency_us']} us for the call"
        return Found(detail, figures)
    for name, size in SIZES.items():
        figures[f"bus_gb_s_{name}"] = round(2 * (ranks - 1) / ranks * size / seconds[name] / 1e9, 4)
    told = f"{figures['bus_gb_s_64mb']} GB/s at 64 MB, {figures['latency_us']} us at 4 B"
    return Found(told, figures)


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
