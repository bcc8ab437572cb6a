"""torch's interface to the store of a run (:mod:`weather_hpc.train.store_server`)."""

import json
import os
import socket
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from weather_hpc.text import one_line
from weather_hpc.train.channel import Channel
from weather_hpc.train.rendezvous import NO_PORT, RENDEZVOUS, Meeting

CONNECT_S = 10.0
"""How long a server may take to answer a new connection."""

CROWD_S = 30.0
"""How long a connection is tried again that a server has closed, since there were too many."""

MARGIN_S = 30.0
"""How much later than asked for a server may say that a value has not come."""

_KEPT: list[object] = []
"""All stores: torch keeps only its own half of one, without these methods."""


class SharedStore(dist.Store):  # type: ignore[name-defined,misc]
    """A store that answers only to processes with the key of the run.

    Threads may use it at the same time: each has a connection of its own. All methods raise
    ``DistStoreError`` where the server does not answer.
    """

    def __init__(self, meeting: Meeting, timeout: timedelta, patience_s: float = 0.0) -> None:
        """``timeout``: of waiting for a value; ``patience_s``: for the server to start."""
        super().__init__()
        self.set_timeout(timeout)
        self.address = meeting.address
        self._meeting = meeting
        self._own = threading.local()
        _KEPT.append(self)
        refusals_end = time.monotonic() + patience_s
        end = max(refusals_end, time.monotonic() + CROWD_S)
        while True:
            try:
                return self._connect()
            except OSError as error:
                absent = isinstance(error, (ConnectionRefusedError, FileNotFoundError))
                if time.monotonic() > (refusals_end if absent else end):
                    raise dist.DistStoreError(self._silent(error)) from None
            time.sleep(0.1)

    def clone(self) -> "SharedStore":
        """A store for another thread: this one."""
        return self

    def set(self, key: str, value: str | bytes) -> None:
        """Set one value."""
        self._ask("set", key, _text(value))

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """Set several values at once."""
        pairs = zip(keys, map(_text, values), strict=True)
        self._ask("set", *(text for pair in pairs for text in pair))

    def get(self, key: str) -> bytes:
        """The value, waited for."""
        return self.multi_get([key])[0]

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """The values, waited for."""
        values = self._ask("get", self.timeout.total_seconds(), *keys)
        if values is None:
            raise dist.DistStoreError(_not_there(keys, self.timeout))
        return [value.encode("latin-1") for value in values]

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all are set."""
        limit = self.timeout if timeout is None else timeout
        if not self._ask("wait", limit.total_seconds(), *keys):
            raise dist.DistStoreError(_not_there(keys, limit))

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all are set."""
        return bool(self._ask("check", *keys))

    def add(self, key: str, amount: int) -> int:
        """Add to a number; the sum."""
        return int(self._ask("add", key, amount))

    def append(self, key: str, value: str | bytes) -> None:
        """Add bytes at the end of a value."""
        self._ask("append", key, _text(value))

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        """Set the value if it is ``expected``, or missing and that is empty; what it is then."""
        answer: str = self._ask("compare_set", key, _text(expected), _text(desired))
        return answer.encode("latin-1")

    def delete_key(self, key: str) -> bool:
        """Delete a value; whether there was one."""
        return bool(self._ask("delete", key))

    def num_keys(self) -> int:
        """How many values there are."""
        return int(self._ask("count"))

    def has_extended_api(self) -> bool:
        """It has ``append``, ``multi_get`` and ``multi_set``."""
        return True

    # the names under which C++ looks for them
    deleteKey = delete_key  # noqa: N815
    getNumKeys = num_keys  # noqa: N815

    def _ask(self, operation: str, *arguments: Any) -> Any:
        """The server's answer. Raises DistStoreError where it gives none."""
        request = json.dumps([operation, *arguments]).encode()
        try:
            if getattr(self._own, "channel", None) is None:
                self._connect()
            waits = operation in ("get", "wait")
            limit_s = arguments[0] if waits else self.timeout.total_seconds()
            self._own.connection.settimeout(limit_s + MARGIN_S * waits)
            self._own.channel.send(request)
            return json.loads(self._own.channel.receive())
        except OSError as error:
            self._own.channel = None  # what comes later would answer another question
            raise dist.DistStoreError(self._silent(error)) from None

    def _connect(self) -> None:
        """Connect this thread. Raises OSError where no server has the key."""
        meeting = self._meeting
        last: OSError | None = None
        unix = not meeting.address
        tcp = socket.AF_INET6 if ":" in meeting.address else socket.AF_INET
        places: list[Any] = [(meeting.address, port) for port in meeting.ports]
        for place in [str(meeting.socket)] if unix else places:
            connection = socket.socket(socket.AF_UNIX if unix else tcp)
            connection.settimeout(CONNECT_S)
            try:
                connection.connect(place)
                if not unix:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._own.channel = Channel(connection, meeting.key, serves=False)
                self._own.connection = connection
                return
            except OSError as error:
                connection.close()
                if last is None or isinstance(last, ConnectionRefusedError):
                    last = error
        raise last or ConnectionRefusedError("no ports")

    def _silent(self, error: OSError) -> str:
        where = self._meeting.address or self._meeting.socket
        return f"the store of this run at {where} does not answer: {one_line(error)}"


def open_store(timeout: timedelta) -> Any:
    """The store at which the launcher lets its ranks meet, for the names of this start of them.

    ``timeout``: of waiting for a value. Raises RuntimeError where it does not answer, UserError
    where the launcher's folder is unusable.
    """
    if (meeting := _private_meeting()) is not None:
        store: Any = SharedStore(meeting, timeout)
    else:  # started by torch's own torchrun, which has a store of its own
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        store, _, _ = next(rendezvous("env://", rank, size, timeout=timeout))
    return dist.PrefixStore(_names(), store)  # type: ignore[attr-defined]


def group_store(store: Any) -> Any:
    """For the process group: on one node a file, so that torch's threads need no Python.

    ``store``: what :func:`open_store` gave.
    """
    meeting = _private_meeting()
    if meeting is None or meeting.address:
        return store
    file = dist.FileStore(str(meeting.group), -1)  # type: ignore[attr-defined]
    return dist.PrefixStore(_names(), file)  # type: ignore[attr-defined]


def _private_meeting() -> Meeting | None:
    """Where ranks meet that our launcher has started."""
    if os.environ["MASTER_PORT"] != str(NO_PORT):
        return None
    return Meeting.read(os.environ.get(RENDEZVOUS, ""))


def _names() -> str:
    """What names begin with: launchers keep stores when they restart ranks."""
    variables = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}
    return "/".join(["ranks", *(os.environ.get(*each) for each in variables.items())])


def _text(value: str | bytes) -> str:
    """Bytes as text in latin-1: so that JSON holds them."""
    return (value.encode() if isinstance(value, str) else bytes(value)).decode("latin-1")


def _not_there(keys: Sequence[str], timeout: timedelta) -> str:
    return f"wait timeout after {timeout.total_seconds():g} s, keys: {', '.join(keys)}"
