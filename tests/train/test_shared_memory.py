"""Ranks of one host tell each other through memory what gloo would tell them."""

import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
import torch

from tests.train.conftest import Train, losses
from weather_hpc.train.ranks import SHARED_MEMORY, TorchrunEnv
from weather_hpc.train.strategies import distributed
from weather_hpc.train.strategies.distributed import SharedMemory

RANKS = 3
Ask = Callable[[SharedMemory], torch.Tensor]


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SharedMemory]]:
    """Three, which tests let run in a thread each, with slots of eight floats."""
    monkeypatch.setattr(distributed, "SLOT", 32)
    slots = torch.full((2, RANKS, 32), 255, dtype=torch.uint8)
    ends: list[list[socket.socket]] = [[] for _ in range(RANKS)]
    for one, other in itertools.combinations(range(RANKS), 2):
        pair = socket.socketpair()
        for rank, end in zip((one, other), pair, strict=True):
            end.settimeout(10)
            ends[rank].append(end)
    memories = [SharedMemory(TorchrunEnv(rank, RANKS), slots, ends[rank]) for rank in range(RANKS)]
    yield memories
    for memory in memories:
        memory.close()


def together(ranks: list[SharedMemory], ask: Ask) -> list[torch.Tensor]:
    with ThreadPoolExecutor(RANKS) as pool:
        asked: list[Future[torch.Tensor]] = [pool.submit(ask, memory) for memory in ranks]
        return [future.result() for future in asked]


@pytest.mark.parametrize("shape", [(1,), (8,), (9,), (5, 7), (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_get_the_sum(
    ranks: list[SharedMemory], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    values = torch.randn(RANKS, *shape, dtype=dtype)
    for _ in range(3):  # sides are used again
        sums = together(ranks, lambda rank: rank.all_reduce(values[rank.env.rank].clone()))
        for each in sums:
            assert torch.equal(each, sums[0])
            torch.testing.assert_close(each, values.sum(0))


def test_a_rank_in_a_hurry_overwrites_nothing(ranks: list[SharedMemory]) -> None:
    """A hundred turns, in which each rank adds what depends on the turn before."""

    def many(rank: SharedMemory) -> torch.Tensor:
        value = torch.ones(3, dtype=torch.float64)
        for turn in range(100):
            value = rank.all_reduce(value + turn * rank.env.rank) / RANKS
        return value

    expected = 1 + sum(range(100)) * (0 + 1 + 2) / RANKS
    for each in together(ranks, many):
        assert each.tolist() == pytest.approx([expected] * 3)


@pytest.mark.parametrize("counts", [(1, 1, 1), (5, 0, 2), (0, 0, 0), (0, 0, 9)])
def test_all_get_all_values(ranks: list[SharedMemory], counts: tuple[int, ...]) -> None:
    values = [torch.randint(1 << 60, (count, 2, 3)) for count in counts]
    for each in together(ranks, lambda rank: rank.concatenate(values[rank.env.rank])):
        assert torch.equal(each, torch.cat(values))


def test_who_has_lost_a_rank_does_not_wait_for_it(ranks: list[SharedMemory]) -> None:
    def lost(rank: SharedMemory) -> torch.Tensor:
        if rank.env.rank == 1:
            rank.close()
            return torch.zeros(1)
        return cast(torch.Tensor, rank.all_reduce(torch.ones(1)))

    with pytest.raises(RuntimeError, match=r"rank 0 has lost the connection to another rank: .+"):
        together(ranks, lost)


def test_the_curve_is_the_same_over_gloo(
    torchrun: Train, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the record tells which it was, and the seconds that went there where they are known."""
    options = ("--model", "tiny", "--device", "cpu", "--epochs", 2, "--strategy", "ddp")
    for name, switch in (("shared memory", "on"), ("gloo", "off")):
        monkeypatch.setenv(SHARED_MEMORY, switch)
        record = torchrun(*options, "--store", small_store, run_dir=tmp_path / name)
        assert record["provenance"]["environment"]["exchange"] == name
        phases = record["phases"]
        if name == "gloo":
            assert phases["communication"] is None
        else:
            assert 0 < phases["communication"] < record["time_s"]
        parts = phases["compute"], phases["data_wait"], phases["communication"] or 0
        assert sum(parts) == pytest.approx(record["time_s"])
    assert losses(tmp_path / "gloo") == losses(tmp_path / "shared memory")
