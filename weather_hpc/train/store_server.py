"""Serves the values of a run's store to its ranks; who has not the run's key gets no answer."""

import json
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from weather_hpc.errors import FailedError
from weather_hpc.text import one_line
from weather_hpc.train.channel import Channel
from weather_hpc.train.rendezvous import Meeting

GREETING_S = 10.0
"""How long a new connection may take for each step of showing that it has the key."""

STRANGERS = 256
"""Connections that have not shown it yet; where there are more, the oldest is closed."""


class StoreServer:
    """A store in threads of this process: one for each connection, none for anything else.

    A context manager.
    """

    def __init__(self, meeting: Meeting) -> None:
        """Listen where ``meeting`` says. Raises FailedError where none of its ports is free."""
        self._meeting = meeting
        self._values: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._greeting: deque[socket.socket] = deque()
        self._closed = False
        self._listener = _listen(meeting)

    def __enter__(self) -> "StoreServer":
        threading.Thread(target=self._accept, name="store", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
                self._greeting.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()
            except (OSError, RuntimeError):  # no more descriptors or threads, for now
                time.sleep(0.1)
            while len(self._greeting) > STRANGERS:
                _hang_up(self._greeting.popleft())

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            try:
                connection.settimeout(GREETING_S)
                channel = Channel(connection, self._meeting.key, serves=True)
            finally:
                with suppress(ValueError):  # it was the oldest of too many
                    self._greeting.remove(connection)
            connection.settimeout(None)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            while True:
                operation, *arguments = json.loads(channel.receive())
                answer = getattr(self, f"_do_{operation}")(*arguments)
                channel.send(json.dumps(answer).encode())

    # Operations: bytes are sent as text in latin-1. Only who has the key gets here.

    def _do_set(self, *pairs: str) -> None:
        with self._changed:
            for name, value in zip(pairs[::2], pairs[1::2], strict=True):
                self._values[name] = value.encode("latin-1")
            self._changed.notify_all()

    def _do_get(self, timeout_s: float, *names: str) -> list[str] | None:
        """Their values once they are all there; None where they are not in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has(names), timeout_s):
                return None
            return [self._values[name].decode("latin-1") for name in names]

    def _do_wait(self, timeout_s: float, *names: str) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._has(names), timeout_s)

    def _do_check(self, *names: str) -> bool:
        with self._changed:
            return self._has(names)

    def _do_add(self, name: str, amount: int) -> int:
        with self._changed:
            total = int(self._values.get(name, b"0")) + amount
            self._values[name] = str(total).encode()
            self._changed.notify_all()
            return total

    def _do_append(self, name: str, value: str) -> None:
        with self._changed:
            self._values[name] = self._values.get(name, b"") + value.encode("latin-1")
            self._changed.notify_all()

    def _do_compare_set(self, name: str, expected: str, desired: str) -> str:
        """The value afterwards, as torch's stores have it: ``expected`` where there is none."""
        with self._changed:
            present = self._values.get(name)
            if present is None and expected:
                return expected
            if present is None or present == expected.encode("latin-1"):
                self._values[name] = present = desired.encode("latin-1")
                self._changed.notify_all()
            return present.decode("latin-1")

    def _do_delete(self, name: str) -> bool:
        with self._changed:
            return self._values.pop(name, None) is not None

    def _do_count(self) -> int:
        with self._changed:
            return len(self._values)

    def _has(self, names: Any) -> bool:
        return all(name in self._values for name in names)


def _listen(meeting: Meeting) -> socket.socket:
    if not meeting.address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(meeting.socket))
        listener.listen(socket.SOMAXCONN)
        return listener
    why = ""
    for port in meeting.ports:
        family = socket.AF_INET6 if ":" in meeting.address else socket.AF_INET
        try:
            return socket.create_server((meeting.address, port), family=family, backlog=1024)
        except OSError as error:
            why = one_line(error)
    ports = ", ".join(map(str, meeting.ports))
    raise FailedError(f"{meeting.address}: none of the ports {ports} is free for the store: {why}")


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
