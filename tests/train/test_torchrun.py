"""The launcher: what it refuses, and what it leaves to its ranks."""

import argparse
import os
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.rendezvous import RendezvousParameters, rendezvous_handler_registry

from weather_hpc.errors import UserError
from weather_hpc.train import torchrun
from weather_hpc.train.rendezvous import MEMORY, RENDEZVOUS, Meeting


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--nnodes 2", "WEATHER_HPC_RENDEZVOUS: not set; with --nnodes 2 it names the folder"),
        ("--nnodes 1:2", "--nnodes 1:2: the number of nodes must be fixed"),
        ("--nnodes 2 --node-rank 2", "--node-rank 2: of 2 nodes they are 0 to 1"),
    ],
)
def test_what_cannot_meet_is_one_line(
    options: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RENDEZVOUS, raising=False)
    monkeypatch.setattr(sys, "argv", ["torchrun", *options.split(), "-m", "weather_hpc.train"])
    with pytest.raises(UserError, match=told):
        torchrun.main()


def test_ranks_get_a_folder_and_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun's agent does with the rendezvous, without its ranks."""
    seen: list[Path] = []
    logs: list[Path] = []

    def launch(args: argparse.Namespace) -> None:
        logs.append(Path(args.log_dir))
        assert logs[0].is_dir()
        meeting = Meeting.read(os.environ[RENDEZVOUS])
        seen.append(meeting.folder)
        assert meeting.folder.stat().st_mode & 0o777 == 0o700
        assert not meeting.ports
        creator = rendezvous_handler_registry._registry[torchrun.NAME]
        handler = creator(RendezvousParameters(torchrun.NAME, "lo", "id", 1, 1))
        given = handler.next_rendezvous()
        assert (given.rank, given.world_size, handler.get_run_id()) == (0, 1, "id")
        assert given.bootstrap_store_info is not None
        assert given.bootstrap_store_info.master_port == 0
        given.store.set("a", "b")
        assert given.store.get("a") == b"b"

    monkeypatch.setenv(RENDEZVOUS, "of an earlier launcher")
    monkeypatch.setattr(torchrun, "_launch", launch)
    monkeypatch.setattr(rendezvous_handler_registry, "_registry", {})
    monkeypatch.setattr(sys, "argv", ["torchrun", "--standalone", "-m", "weather_hpc.train"])
    assert torchrun.main() == 0
    (folder,) = seen
    assert folder.parent == MEMORY
    assert not folder.exists()
    assert not logs[0].exists()


def test_without_room_in_memory_ranks_meet_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchrun, "MEMORY", tmp_path / "none")
    with torchrun._folder_of_one_node() as folder:
        assert folder.is_dir()
    monkeypatch.setattr(torchrun, "ROOM", 1 << 60)
    told = "no folder for the ranks to meet in, neither in .*none nor elsewhere: "
    with pytest.raises(UserError, match=told), torchrun._folder_of_one_node():
        pass
