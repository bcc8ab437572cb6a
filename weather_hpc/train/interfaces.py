"""The network interfaces of this node, as Linux reports them.

Without psutil: training runs where only its four packages are installed.
"""

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

IPV6 = Path("/proc/net/if_inet6")
LINK_SCOPE = 0x20
"""Of IPv6 addresses that hold on one link only."""

_SIOCGIFCONF = 0x8912
_IFCONF = "iP"
"""Size in bytes and address of the memory that the kernel fills with entries."""
_ENTRY, _NAME, _IPV4 = 40, slice(0, 16), slice(20, 24)
"""Bytes of an entry, and where its name and its IPv4 address lie."""
_MOST = 4096
"""Entries that are read at most."""


def addresses() -> dict[str, str]:
    """The interface of each IP address of this node, but for those of one link only."""
    return {str(ipaddress.ip_address(address)): name for address, name in _addresses()}


def _addresses() -> Iterator[tuple[bytes, str]]:
    filled = array.array("B", bytes(_ENTRY * _MOST))
    memory, size = filled.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFCONF, struct.pack(_IFCONF, size, memory))
    size, _ = struct.unpack(_IFCONF, answer)
    for first in range(0, size, _ENTRY):
        entry = filled[first : first + _ENTRY].tobytes()
        yield entry[_IPV4], entry[_NAME].partition(b"\0")[0].decode()
    with contextlib.suppress(OSError):  # a kernel without IPv6
        for line in IPV6.read_text().splitlines():
            address, _index, _prefix, scope, _flags, name = line.split()
            if int(scope, 16) != LINK_SCOPE:
                yield bytes.fromhex(address), name
