"""Messages between two processes that both have the key of a run.

Each side sends a random number first. From the key and both numbers follows the key of the
connection, with which every message is signed, together with its direction and its place in the
sequence. So both sides are known to have the key before anything that they say is looked at, and
messages cannot be changed, repeated or left out. They can be read: nothing in them is secret.
"""

import hmac
import secrets
import socket
import struct

LONGEST = 1 << 26
"""Bytes of a message."""

_NONCE, _TAG = 32, 32
"""Bytes of the random number and of a signature."""

_LENGTH = struct.Struct("!I")


class StrangerError(ConnectionError):
    """The other side does not have the key of this run."""


class Channel:
    """One end of a connection; ``serves`` is true at one end only."""

    def __init__(self, connection: socket.socket, key: bytes, *, serves: bool) -> None:
        """Prove to the other side that this one has ``key``, and the other way round.

        ``connection`` is closed with this object. Raises StrangerError, or OSError where the
        connection breaks or times out.
        """
        self._connection = connection
        own = secrets.token_bytes(_NONCE)
        connection.sendall(own)
        other = self._read(_NONCE)
        both = other + own if serves else own + other
        self._key = hmac.digest(key, both, "sha256")
        self._out, self._in = (b"s", b"c") if serves else (b"c", b"s")
        self._sent = self._received = 0
        self.send(b"")
        self.receive(longest=0)

    def __del__(self) -> None:
        self._connection.close()

    def send(self, message: bytes) -> None:
        """Send ``message``. Raises OSError."""
        tag = self._tag(self._out, self._sent, message)
        self._sent += 1
        self._connection.sendall(_LENGTH.pack(len(message)) + tag + message)

    def receive(self, longest: int = LONGEST) -> bytes:
        """The next message, of up to ``longest`` bytes.

        Raises StrangerError where it is longer or not signed with the key, OSError otherwise.
        """
        head = self._read(_LENGTH.size + _TAG)
        (length,) = _LENGTH.unpack_from(head)
        if length > longest:
            raise StrangerError("a message that is too long")
        message = self._read(length)
        tag = self._tag(self._in, self._received, message)
        if not hmac.compare_digest(tag, head[_LENGTH.size :]):
            raise StrangerError("a message that is not signed with the key of this run")
        self._received += 1
        return message

    def _tag(self, direction: bytes, number: int, message: bytes) -> bytes:
        return hmac.digest(self._key, direction + struct.pack("!Q", number) + message, "sha256")

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._connection.recv(count - len(data))
            if not part:
                raise ConnectionResetError("the other side has closed the connection")
            data += part
        return bytes(data)
