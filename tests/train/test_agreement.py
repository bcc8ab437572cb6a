"""Ranks that read different things agree on one or all fail, naming what differs and where."""

import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.train.conftest import Train, packed
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.provenance import node_name
from weather_hpc.train import agreement
from weather_hpc.train.agreement import DisagreementError, Reading, agree, differences_of
from weather_hpc.train.checkpoint import Checkpoint
from weather_hpc.train.exchange import FIRST_FAILURE, RANK_TIMEOUT, exchange, key, ranks_named
from weather_hpc.train.ranks import TorchrunEnv
from weather_hpc.train.request import Request, TrainOptions, make_request
from weather_hpc.train.torchrun import await_launchers

EPOCHS = 3

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def finished(train: Train, small_store: Path, tmp_path: Path) -> Path:
    """The folder of a run with its checkpoint."""
    folder = tmp_path / "run"
    train("--store", small_store, "--model", "tiny", "--epochs", EPOCHS, run_dir=folder)
    return folder


def request_for(store: Path, run_dir: Path, rank: int, ranks: int, **more: Any) -> Request:
    settings = {"model": "tiny", "epochs": EPOCHS, "strategy": "ddp", "world_size": ranks}
    options = TrainOptions(store, settings | more, run_dir, True, 0, False)
    return make_request(options, [], TorchrunEnv(rank, ranks, rank, ranks, True))


def together(work: Callable[[Any, int], Any], ranks: int) -> list[Any]:
    """What ``work`` of each rank's :class:`Ranks` returns or raises, all at the same time."""
    store = dist.HashStore()  # type: ignore[attr-defined]

    def one(rank: int) -> Any:
        env = TorchrunEnv(rank, ranks, rank, ranks, True)
        try:
            return work(SimpleNamespace(env=env, store=store), rank)
        except (FailedError, UserError) as error:
            return error

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(one, range(ranks)))


def copy_of(folder: Path, name: str, change: Change | None, ranks: int) -> Path:
    """A rank's own view of the run's folder; the checkpoint is that of a run on ``ranks``."""
    copy = folder.parent / name
    shutil.copytree(folder, copy)
    path = copy / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["asked"] |= {"strategy": "ddp", "world_size": ranks}
    if change is not None:
        change(state)
    torch.save(state, path)
    return copy


def older(state: dict[str, Any]) -> None:
    state["epoch"] = 1


def other_step(state: dict[str, Any]) -> None:
    state["step"] = 7


def other_weight(state: dict[str, Any]) -> None:
    next(iter(state["network"].values())).view(-1)[0] += 1


def no_file(folder: Path) -> None:
    (folder / "checkpoint.pt").unlink()


def damaged(folder: Path) -> None:
    (folder / "checkpoint.pt").write_bytes(b"half")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([None, older], "epoch 3 on rank 0 (NODE), epoch 1 on rank 1 (NODE)"),
        ([older, None], "epoch 1 on rank 0 (NODE), epoch 3 on rank 1 (NODE)"),
        ([None, older, None], "epoch 3 on ranks 0, 2 (NODE), epoch 1 on rank 1 (NODE)"),
        ([None, no_file], "epoch 3 on rank 0 (NODE), none on rank 1 (NODE)"),
        ([no_file, None], "none on rank 0 (NODE), epoch 3 on rank 1 (NODE)"),
        ([None, damaged], "checkpoint.pt: cannot be read as a checkpoint"),
        ([None, other_step], "epoch 3 on rank 0 (NODE), epoch 3 step 7 on rank 1 (NODE)"),
        ([None, other_weight], "epoch 3 (content "),
    ],
)
def test_ranks_with_different_checkpoints_fail_alike_and_name_both(
    changes: list[Any],
    told: str,
    finished: Path,
    small_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "REREAD_S", 0.0)
    monkeypatch.setattr(agreement, "REREAD_EVERY_S", 0.0)
    views = []
    for rank, change in enumerate(changes):
        of_file = change in (no_file, damaged)
        views.append(copy_of(finished, f"view{rank}", None if of_file else change, len(changes)))
        if of_file:
            change(views[-1])

    def work(ranks: Any, rank: int) -> Any:
        request = request_for(small_store, views[rank], rank, len(changes))
        return agree(ranks, request, Reading(request), None)

    raised = together(work, len(changes))
    assert all(isinstance(error, DisagreementError) for error in raised), raised
    # each has its own folder here, but one text otherwise
    texts = {re.sub(r"view\d", "view", str(error)) for error in raised}
    assert len(texts) == 1
    assert told.replace("NODE", node_name()) in texts.pop()


def test_a_rank_that_is_behind_reads_again(
    finished: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a network file system, whose client sees the new file some seconds later."""
    monkeypatch.setattr(agreement, "REREAD_EVERY_S", 0.02)
    newer, stale = (copy_of(finished, name, change, 2) for name, change in
                    (("new", None), ("stale", older)))  # fmt: skip

    def work(ranks: Any, rank: int) -> Any:
        request = request_for(small_store, (newer, stale)[rank], rank, 2)
        reading = Reading(request)
        if rank == 1:
            arrive = lambda: shutil.copy(newer / "checkpoint.pt", stale)  # noqa: E731
            threading.Timer(0.2, arrive).start()
        return agree(ranks, request, reading, None)

    for is_done, checkpoint in together(work, 2):
        assert not is_done
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.epoch == EPOCHS


def test_where_no_rank_can_use_the_checkpoint_each_says_so_as_one_alone_would(
    finished: Path, small_store: Path
) -> None:
    damaged(finished)

    def work(ranks: Any, rank: int) -> Any:
        request = request_for(small_store, finished, rank, 2)
        return agree(ranks, request, Reading(request), None)

    for error in together(work, 2):
        assert isinstance(error, UserError)
        assert "to start afresh move it away" in str(error)


def test_rank_0_decides_whether_the_run_is_done(small_store: Path, tmp_path: Path) -> None:
    """The other may not see the record yet."""
    for done_on_0 in (True, False):

        def work(ranks: Any, rank: int, *, done: bool = done_on_0) -> Any:
            request = request_for(small_store, tmp_path, rank, 2)
            record: Any = object() if (rank == 0) is done else None
            return agree(ranks, request, Reading(request), record)

        assert together(work, 2) == [(done_on_0, None)] * 2


def test_ranks_with_other_settings_images_or_code_fail(
    small_store: Path, images: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    shutil.copytree(images, others)
    next((others / "dew").iterdir()).unlink()
    other_store = packed(others, tmp_path / "other_store", 32)

    def work(ranks: Any, rank: int) -> Any:
        store, epochs = ((small_store, 3), (other_store, 4))[rank]
        request = request_for(store, tmp_path / "run", rank, 2, epochs=epochs)
        return agree(ranks, request, Reading(request), None)

    texts = set(map(str, together(work, 2)))
    assert len(texts) == 1
    text, node = texts.pop(), node_name()
    assert f"epochs: 3 on rank 0 ({node}), 4 on rank 1 ({node})" in text
    assert "store checksum: " in text
    facts = agreement.facts_of(request_for(small_store, tmp_path / "run", 0, 2))
    other = facts | {"code of weather_hpc": "0.1.0, 0123456789ab"}
    told = differences_of([facts, facts, other], ["node1", "node1", "node2"])
    assert told.startswith("code of weather_hpc: ")
    assert told.endswith("0.1.0, 0123456789ab on rank 2 (node2)")


def test_ranks_that_do_not_arrive_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RANK_TIMEOUT, "0.05")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    store = dist.HashStore()  # type: ignore[attr-defined]
    told = r"^ranks 2, 3 of 4 ranks did not arrive within 0.05 s .*: of node 1, counted from 0, of "
    store.set(key("x/1"), "null")
    with pytest.raises(FailedError, match=told):
        exchange(store, TorchrunEnv(0, 4, 0, 2, True), "x", None)
    assert ranks_named([0, 1, 2, 5]) == "ranks 0-2, 5"


def test_nodes_whose_launcher_does_not_start_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RANK_TIMEOUT, "0.05")
    store = dist.HashStore()  # type: ignore[attr-defined]
    with pytest.raises(FailedError, match=r"within 0.05 s .* on node 1, 2 of 3, counted from 0"):
        await_launchers(store, 0, 3)
    await_launchers(store, 0, 1)


def test_a_rank_that_fails_before_it_arrives_is_told_to_those_that_wait() -> None:
    def work(ranks: Any, rank: int) -> Any:
        if rank == 1:
            failure = json.dumps({"reason": "rank 1 on node2: UserError: no such store"})
            time.sleep(0.02)
            return ranks.store.set(key(FIRST_FAILURE), failure)
        return exchange(ranks.store, ranks.env, "x", None)

    assert str(together(work, 2)[0]) == "rank 1 on node2: UserError: no such store"


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_a_time_out_that_is_none_is_refused(
    text: str, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RANK_TIMEOUT, text)
    with pytest.raises(UserError, match=f"{RANK_TIMEOUT}={text}: must be a number"):
        request_for(small_store, tmp_path, 0, 2)
