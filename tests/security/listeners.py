"""What a family of processes listens on, from /proc: TCP ports and Unix sockets."""

import ipaddress
import re
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LISTENING = "0A"
"""The state of a listening port in /proc/net/tcp."""
ACCEPTS = 0x10000
"""The flag of a listening socket in /proc/net/unix."""


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections."""

    pid: int
    address: str
    """An IP address; of a Unix socket its path, which starts with ``@`` if it is abstract."""
    port: int
    """0 of a Unix socket."""

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return self.port == 0

    @property
    def is_private(self) -> bool:
        """Whether no other host can connect to it."""
        return self.is_unix or ipaddress.ip_address(self.address).is_loopback


def family(pid: int) -> list[int]:
    """The process ``pid`` and all that descend from it, as long as they live."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    return []


def listeners(pids: Iterable[int]) -> set[Listener]:
    """All sockets that the processes ``pids`` listen on. Needs to be their user, or root."""
    found = set()
    for pid in pids:
        with suppress(OSError):  # the process has ended
            inodes = _inodes(pid)
            for inode, address, port in [*_tcp(pid), *_unix(pid)]:
                if inode in inodes:
                    found.add(Listener(pid, address, port))
    return found


def _inodes(pid: int) -> set[str]:
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.update(re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink())))
    return inodes


def _tcp(pid: int) -> list[tuple[str, str, int]]:
    """Inode, address and port of every listening port in the network of ``pid``."""
    rows = []
    for name in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{name}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            _, local, _, state, *others = line.split()
            if state == LISTENING:
                address, port = local.split(":")
                rows.append((others[5], _ip(address), int(port, 16)))
    return rows


def _ip(digits: str) -> str:
    """An address of /proc/net: words of 4 bytes in the order of this machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    ip = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def _unix(pid: int) -> list[tuple[str, str, int]]:
    rows = []
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split(maxsplit=7)
        if int(flags, 16) & ACCEPTS:
            rows.append((inode, path[0] if path else "", 0))
    return rows
