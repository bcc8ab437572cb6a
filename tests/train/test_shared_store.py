"""The store of several nodes' ranks: what torch does with it, and what strangers cannot do."""

import os
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.train import rendezvous, shared_store, store_server
from weather_hpc.train.channel import Channel, StrangerError
from weather_hpc.train.interfaces import addresses
from weather_hpc.train.rendezvous import Meeting
from weather_hpc.train.shared_store import SharedStore
from weather_hpc.train.store_server import StoreServer
from weather_hpc.train.strategies.distributed import _LEFT

SOON = timedelta(seconds=20)


@pytest.fixture(params=["tcp", "unix"])
def meeting(request: pytest.FixtureRequest, tmp_path: Path) -> Meeting:
    if request.param == "unix":
        return Meeting.on_one_node(tmp_path)
    return Meeting.of_several_nodes(tmp_path, "127.0.0.1")


@pytest.fixture
def store(meeting: Meeting) -> Iterator[SharedStore]:
    with StoreServer(meeting):
        yield SharedStore(meeting, SOON)


@pytest.mark.parametrize("prefix", [False, True])
def test_all_that_torch_asks_of_a_store(store: SharedStore, prefix: bool) -> None:
    """Through PrefixStore every call goes through C++, as those of process groups do."""
    ours: Any = dist.PrefixStore("a", store) if prefix else store  # type: ignore[attr-defined]
    ours.set("text", "é")
    ours.set("bytes", bytes(range(256)))
    assert (ours.get("text"), ours.get("bytes")) == ("é".encode(), bytes(range(256)))
    assert (ours.add("n", 2), ours.add("n", -5), ours.get("n")) == (2, -3, b"-3")
    assert ours.compare_set("first", "", "one") == b"one"
    assert ours.compare_set("first", "", "two") == b"one"
    assert ours.compare_set("first", "one", "three") == b"three"
    assert ours.compare_set("none", "expected", "x") == b"expected"
    assert not ours.check(["none"])
    assert ours.check(["text", "n"])
    ours.multi_set(["m1", "m2"], ["1", "2"])
    ours.append("m2", "3")
    assert ours.multi_get(["m1", "m2"]) == [b"1", b"23"]
    assert ours.num_keys() == 6
    assert (ours.delete_key("n"), ours.delete_key("n")) == (True, False)
    assert ours.has_extended_api()
    clone = ours.clone()
    assert clone.get("m1") == b"1"
    ours.wait(["text"], SOON)
    with pytest.raises(dist.DistStoreError, match=r"timeout after 0.01 s, keys: .*none"):
        ours.wait(["none"], timedelta(milliseconds=10))
    thread = threading.Thread(target=lambda: ours.set("later", "x"))
    thread.start()
    assert ours.get("later") == b"x"
    thread.join()


def test_a_process_group_forms_while_strangers_stall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    meeting = Meeting.of_several_nodes(tmp_path, "127.0.0.1")

    def join(rank: int) -> tuple[int, object]:
        names = dist.PrefixStore("group", SharedStore(meeting, SOON))  # type: ignore[attr-defined]
        group = dist.ProcessGroupGloo(names, rank, 2, SOON)
        total = torch.tensor([rank + 1])
        group.allreduce([total]).wait()  # type: ignore[attr-defined]
        return int(total), group

    strangers = []
    with StoreServer(meeting), ThreadPoolExecutor(2) as threads:
        strangers += [connection_to(meeting) for _ in range(20)]
        sums, groups = zip(*threads.map(join, (0, 1)), strict=True)
    _LEFT.extend(groups)
    for stranger in strangers:
        stranger.close()
    assert sums == (3, 3)


class Bomb:
    """A pickle that ends the process which reads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


GARBAGE = {
    "nothing": b"",
    "a pickle": pickle.dumps(Bomb()),
    "a pickle as multiprocessing sends it": struct.pack("!i", 60) + pickle.dumps(Bomb()),
    "torch's client": b"\0" + struct.pack("<I", 0x3C85F7CE) + b"\1" + struct.pack("<Q", 1 << 62),
    "a random number, then a huge length": bytes(32) + b"\xff" * 36,
    "a random number, then zeros": bytes(1000),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n" + bytes(100),
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_garbage_gets_no_answer(store: SharedStore, meeting: Meeting, sent: bytes) -> None:
    with connection_to(meeting) as stranger:
        answer = b""
        with suppress(OSError):  # it may be closed at any time
            stranger.sendall(sent)
            stranger.shutdown(socket.SHUT_WR)
            while part := stranger.recv(1 << 16):
                answer += part
    assert len(answer) <= 32 + 36, "no more than a random number and a signed empty message"
    store.set("still", "there")


def test_a_wrong_key_is_refused_by_both_sides(store: SharedStore, meeting: Meeting) -> None:
    wrong = Meeting(meeting.folder, b"x" * 32, meeting.address, meeting.ports)
    with connection_to(meeting) as stranger, pytest.raises(StrangerError):
        Channel(stranger, wrong.key, serves=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_store, "CROWD_S", 0.0)
        with pytest.raises(
            dist.DistStoreError, match=r"does not answer: .*not signed with the key"
        ):
            SharedStore(wrong, SOON)
    store.set("still", "there")


def test_a_server_that_was_there_first_is_passed_over(tmp_path: Path) -> None:
    """A stranger on the first port, who plays our server without the key."""
    meeting = Meeting.of_several_nodes(tmp_path, "127.0.0.1")
    with socket.create_server(("127.0.0.1", meeting.ports[0])) as squatter, StoreServer(meeting):

        def play() -> None:
            connection, _ = squatter.accept()
            with connection:
                connection.sendall(connection.recv(32) + bytes(36))

        thread = threading.Thread(target=play)
        thread.start()
        SharedStore(meeting, SOON).set("a", "b")
        thread.join()


def test_it_listens_on_one_address_only(tmp_path: Path) -> None:
    meeting = Meeting.of_several_nodes(tmp_path, "127.0.0.2")
    with StoreServer(meeting), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", meeting.ports[0]), 20)


def test_no_free_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        meeting = Meeting(tmp_path, b"k" * 32, "127.0.0.1", (port,))
        with pytest.raises(FailedError, match=f"none of the ports {port} is free.*in use"):
            StoreServer(meeting)


def test_of_too_many_strangers_the_oldest_go(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_server, "STRANGERS", 3)
    with StoreServer(meeting):
        strangers = [connection_to(meeting) for _ in range(10)]
        SharedStore(meeting, SOON).set("a", "b")
        gone = sum(has_ended(stranger) for stranger in strangers)
        assert gone >= 7
        for stranger in strangers:
            stranger.close()


def test_a_store_that_has_ended_raises(meeting: Meeting) -> None:
    ended = f"store of this run at {meeting.address or meeting.socket} does not answer"
    with StoreServer(meeting):
        SharedStore(meeting, SOON).set("a", "b")
    if not meeting.address:
        meeting.socket.unlink()
    with pytest.raises(dist.DistStoreError, match=ended):
        SharedStore(meeting, SOON)


FORGED: dict[str, Callable[[bytes, bytes], bytes]] = {
    "changed": lambda sent, own: sent[:-1] + b"X",
    "repeated": lambda sent, own: sent + sent,
    "sent back": lambda sent, own: own,
}
"""What arrives instead of what one end has sent; ``own``: what the receiver has sent."""


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_messages_cannot_be_forged(forge: Callable[[bytes, bytes], bytes]) -> None:
    left, right = socket.socketpair()
    with left, right, ThreadPoolExecutor(1) as thread:
        greeted = thread.submit(Channel, right, b"k", serves=True)
        client = Channel(left, b"k", serves=False)
        server = greeted.result()
        client.send(b"message")
        sent = right.recv(1000)
        server.send(b"answer!")
        left.sendall(forge(sent, left.recv(1000)))
        with pytest.raises(StrangerError, match="not signed"):
            server.receive()
            server.receive()


def test_folder_and_key_are_ours_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rendezvous.main([str(tmp_path / "new"), "127.0.0.1"]) == cli.EXIT_OK
    folder = Path(capsys.readouterr().out.strip())
    assert folder.is_absolute()
    modes = [path.stat().st_mode & 0o777 for path in (folder, folder / "meeting.json")]
    assert modes == [0o700, 0o600]
    assert Meeting.read(str(folder)).address == "127.0.0.1"
    folder.chmod(0o755)
    with pytest.raises(UserError, match="must belong to you, with mode 0700"):
        Meeting.read(str(folder))
    (folder / "meeting.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Meeting.read(str(folder))
    with pytest.raises(UserError, match=r"WEATHER_HPC_RENDEZVOUS=/none: .*No such file"):
        Meeting.read("/none")


def test_the_address_is_that_of_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "")
    assert rendezvous.own_address("localhost") in ("127.0.0.1", "::1")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "=lo")
    assert rendezvous.own_address("192.0.2.1") == "127.0.0.1"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none0")
    with pytest.raises(UserError, match="GLOO_SOCKET_IFNAME=none0: no interface with an address"):
        rendezvous.own_address("localhost")


def test_interfaces_are_those_that_psutil_finds() -> None:
    expected = {
        each.address: name
        for name, found in psutil.net_if_addrs().items()
        for each in found
        if each.family in (socket.AF_INET, socket.AF_INET6) and "%" not in each.address
    }
    assert addresses() == expected
    assert expected["127.0.0.1"] == "lo"


def connection_to(meeting: Meeting) -> socket.socket:
    if meeting.address:
        return socket.create_connection((meeting.address, meeting.ports[0]), 20)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(meeting.socket))
    return connection


def has_ended(connection: socket.socket) -> bool:
    """Whether the server has closed it; it sends its random number at most."""
    connection.settimeout(0.2)
    try:
        while connection.recv(100):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True
