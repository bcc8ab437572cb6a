"""Checks that several ranks make together: binding, all-reduce bandwidth, losses of training.

torchrun starts the verb once a rank, on one node or several: by hand or by a job script, or here,
for the ranks of this node (:func:`checks_on_this_node`). All ranks run the same checks in the same
order; rank 0 alone prints and writes results, and decides whether time suffices.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
import torch.distributed as dist

from weather_hpc.check.binding import Binding, binding_of, check_bindings
from weather_hpc.check.node import median_s, versions, wait
from weather_hpc.check.runs import clean_environment, run_process, tail
from weather_hpc.check.session import Check, Passed, Session, WrongError, select
from weather_hpc.check.training import SAME, compare_losses
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.checks import ALL_REDUCE, BINDING, CheckResult, read_checks
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.runs.provenance import node_name
from weather_hpc.study.tasks import Device
from weather_hpc.text import one_line
from weather_hpc.train.cuda import why_no_cuda
from weather_hpc.train.ranks import (
    Rank,
    Ranks,
    TorchrunEnv,
    Unavailable,
    agreed_device,
    lacking_gpus,
    torchrun,
)
from weather_hpc.train.strategies.distributed import Distributed

NOTHING = Passed("")
"""The result on ranks other than 0."""

MESSAGES = {
    "4b": 4, "1kb": 1_000, "32kb": 32_000, "1mb": 1_000_000, "8mb": 8_000_000, "64mb": 64_000_000,
}  # fmt: skip
"""Bytes of a message, of float32, by the name in the results."""

SERIES_BYTES, SERIES_MESSAGES = 20_000_000, 20
"""Small messages are timed in series of at most so many bytes and messages."""

START_S = 20.0
"""Needed by the first of two checks, which starts the ranks; the second only reads its result."""


@dataclass(frozen=True)
class Team:
    """The ranks after they have joined, with their process group."""

    ranks: Ranks
    strategy: Distributed

    @property
    def nodes(self) -> list[str]:
        """Each node once, in the order of the ranks."""
        return list(dict.fromkeys(rank.host for rank in self.ranks.all))

    @property
    def size(self) -> int:
        """The world size."""
        return self.ranks.env.world_size

    @property
    def is_rank_0(self) -> bool:
        """Whether this process is rank 0."""
        return self.ranks.env.rank == 0

    def on(self, node: str) -> list[int]:
        """The ranks of a node."""
        return [rank.rank for rank in self.ranks.all if rank.host == node]


def join(env: TorchrunEnv, requested: Device, gpus: int) -> Team:
    """Join the other ranks. Raises UserError if they cannot compute on the requested device."""
    device, lacks = Device.CPU, ""
    if requested is not Device.CPU and gpus >= env.local_world_size:
        device = Device.CUDA
    elif requested is Device.CUDA:
        lacks = lacking_gpus(env.local_world_size, gpus, why_no_cuda())
    own = Rank(env.rank, node_name(), os.getpid(), None if lacks else device, lacks)
    ranks = Ranks(env, own)
    try:
        agreed = agreed_device(ranks.all)
    except Unavailable as lacking:
        raise UserError(f"--device {requested}: {lacking}") from None
    local = env.local_rank if agreed is Device.CUDA else None
    place = torch.device("cpu") if local is None else torch.device("cuda", local)
    strategy = Distributed(place, env, env.world_size)
    strategy.set_up(ranks.group_store)
    return Team(ranks, strategy)


def checks_of(team: Team) -> list[Check]:
    """The checks that ``team`` can run, the most valuable first."""
    size, nodes = team.size, team.nodes
    where = f"{size} ranks on {len(nodes)} node" + ("s" if len(nodes) > 1 else "")
    checks = [
        Check("versions", 1, lambda session: versions(session) if team.is_rank_0 else NOTHING),
        Check(BINDING, 2, lambda session: _binding(team)),
        Check(f"{ALL_REDUCE}, {where}", 30, lambda session: _all_reduce(team, None)),
    ]
    shared = next((node for node in nodes if len(team.on(node)) > 1), None)
    if len(nodes) > 1 and shared is not None:
        members = team.on(shared)
        name = f"{ALL_REDUCE}, {len(members)} ranks on 1 node"
        checks.append(Check(name, 15, lambda session: _all_reduce(team, members)))
    if size > 1:
        for strategy, most in (("ddp", 10), ("model", 4)):
            if size <= most:
                name = f"{strategy} on {where} = one process"
                checks.append(Check(name, 30, _training(team, strategy)))
    return checks


def run_checks(
    team: Team, session: Session, texts: Sequence[str], report: Callable[[CheckResult], None]
) -> list[CheckResult]:
    """Run the checks with one of ``texts`` in their names, all if there are no texts. Collective.

    On ranks other than 0 nothing is reported, and the list is empty.
    """
    checks = select(checks_of(team), texts)
    if team.is_rank_0:
        return session.run(checks, report, _broadcast)
    for check in checks:
        if _broadcast(None):
            try:
                check.function(session)
            except Exception as error:  # this rank takes part in the next check all the same
                rank = team.ranks.env.rank
                print(f"rank {rank}: {check.name}: {one_line(error)}", file=sys.stderr)
    return []


def _broadcast(enough: bool | None) -> bool:
    """Whether the next check is run, as rank 0 has decided. Collective."""
    value = torch.tensor([int(bool(enough))])
    dist.broadcast(value, 0)
    return bool(value.item())


def _binding(team: Team) -> Passed:
    rank, device = team.ranks.env.rank, team.strategy.device
    own = binding_of(rank, device, torch.get_num_threads())
    bindings = [Binding(**values) for values in team.strategy.gather(asdict(own))]
    return check_bindings(bindings) if team.is_rank_0 else NOTHING


def _all_reduce(team: Team, members: list[int] | None) -> Passed:
    """Among all ranks, or among ``members``, the ranks of one node."""
    device, rank = team.strategy.device, team.ranks.env.rank
    group = None if members is None else dist.new_group(members)
    seconds = all_reduce_s(device, group) if members is None or rank in members else {}
    team.strategy.barrier()
    by_rank = team.strategy.gather(seconds)
    if not team.is_rank_0:
        return NOTHING
    measured = next(one for one in by_rank if one)
    if members is None:
        return bandwidths(measured, device.type, team.size, len(team.nodes))
    return bandwidths(measured, device.type, len(members), nodes=1)


def _training(team: Team, strategy: str) -> Callable[[Session], Passed]:
    def check(session: Session) -> Passed:
        """The ranks together reach the losses of one process."""
        size, device = team.size, team.strategy.device.type
        base = ["--store", session.store(), "--model", "tiny_deep", "--epochs", 2,
                "--device", device, "--batch-size", 2 * size, "--batch-mode", "global"]  # fmt: skip
        ran = session.runs.as_rank(strategy, *base, "--strategy", strategy, "--world-size", size)
        if ran is None:
            return NOTHING
        single = session.runs.apart(*base)
        exchange = f"through {ran.exchange or 'pipelines'}"
        return compare_losses(ran.losses, single.losses, SAME, exchange)

    return check


def all_reduce_s(device: torch.device, group: Any = None) -> dict[str, float]:
    """Seconds of one all-reduce of each of :data:`MESSAGES`, the median of several. Collective."""
    return {name: _one_all_reduce_s(size, device, group) for name, size in MESSAGES.items()}


def _one_all_reduce_s(size: int, device: torch.device, group: Any) -> float:
    message, tiny = torch.zeros(size // 4, device=device), torch.zeros(1, device=device)
    count = max(1, min(SERIES_MESSAGES, SERIES_BYTES // size))

    def synchronise() -> None:
        dist.all_reduce(tiny, group=group)
        wait(device)

    def exchange() -> None:
        for _ in range(count):
            dist.all_reduce(message, group=group)

    return median_s(exchange, device, synchronise) / count


def bandwidths(seconds: dict[str, float], device: str, ranks: int, nodes: int) -> Passed:
    """Bus bandwidths, 2 (n - 1) / n of the message's bytes a second (GB/s), and the latency (us).

    A single rank sends nothing and has only times.
    """
    figures: dict[str, Any] = {"device": device, "ranks": ranks, "nodes": nodes}
    figures |= {f"time_us_{name}": round(s * 1e6, 2) for name, s in seconds.items()}
    figures["latency_us"] = figures["time_us_4b"]
    if ranks == 1:
        detail = f"a single rank sends nothing: {figures['latency_us']} us for the call"
        return Passed(detail, figures)
    for name, size in MESSAGES.items():
        figures[f"bus_gb_s_{name}"] = round(2 * (ranks - 1) / ranks * size / seconds[name] / 1e9, 4)
    detail = f"{figures['bus_gb_s_64mb']} GB/s at 64 MB, {figures['latency_us']} us at 4 B"
    return Passed(detail, figures)


def checks_on_this_node(session: Session) -> list[Check]:
    """Binding and all-reduce of as many ranks as this node has GPUs, two without GPUs."""
    count = session.gpus or 2
    device = "GPUs" if session.gpus else "CPUs"
    name = f"{ALL_REDUCE}, {count} rank{'s' * (count > 1)} on 1 node"

    @cache
    def started() -> tuple[list[CheckResult], str]:
        return _start(session, count)

    def result_of(name: str) -> Passed:
        results, end = started()
        result = next((one for one in results if one.name.startswith(name)), None)
        if result is None:
            raise FailedError(f"its ranks {end}")
        if not result.ok:
            raise WrongError(result.detail, result.figures)
        detail = f"{result.detail} ({device})" if name == ALL_REDUCE else result.detail
        return Passed(detail, result.figures)

    return [
        Check(BINDING, START_S, lambda _: result_of(BINDING)),
        Check(name, START_S, lambda _: result_of(ALL_REDUCE)),
    ]


def _start(session: Session, count: int) -> tuple[list[CheckResult], str]:
    """Start the verb on ``count`` ranks of this node: its results, and how it ended."""
    out = CheckPaths(session.work / "ranks")
    verb = ["-m", "weather_hpc.check", "--device", session.device.value, "--out", str(out.root),
            "--only", BINDING, "--only", ALL_REDUCE]  # fmt: skip
    argv = [sys.executable, *torchrun(1, count), *verb]
    try:
        done = run_process(argv, clean_environment(), session.limit_s())
        end = f"ended with {done.returncode}: {tail(done.stderr)}"
    except FailedError as late:
        end = str(late)
    return (read_checks(out.results)[0] if out.results.exists() else []), end
