"""Where the ranks of a run meet: a folder of this user alone, with the key of the run.

    python -m weather_hpc.train.rendezvous DIR HOST

makes one in DIR, which all nodes of a run share, and prints its name. It is called on the first
node; HOST is another one. The variable WEATHER_HPC_RENDEZVOUS then names the folder to the launcher
of every node, and each launcher names it to its ranks. On one node the launcher makes the folder.
Importable without torch.
"""

import ipaddress
import json
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.train.interfaces import addresses

RENDEZVOUS = "WEATHER_HPC_RENDEZVOUS"
"""The variable that names the folder."""

NO_PORT = 0
"""As MASTER_PORT, it says that ranks meet in the folder instead of at a port of torchrun."""

GLOO_INTERFACE, NCCL_INTERFACE = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"

LOOPBACK = "lo"

MEMORY = Path("/dev/shm")  # noqa: S108 - of it we use folders that nobody else may enter
"""The memory file system."""

PREFIX = "rendezvous-"
"""What the names of folders that are shared by nodes begin with."""

FIRST_PORT, PORTS = 10000, 20000
"""The range of ports: below those that Linux assigns to clients."""

SPARE_PORTS = 8
"""How many are drawn for a run: others may use some of them."""

_MEETING, _SOCKET, _GROUP = "meeting.json", "socket", "group"
"""Files in the folder: the Meeting, the Unix socket of one node, the process group's store."""


@dataclass(frozen=True)
class Meeting:
    """What a rank must know to speak to the store of its run."""

    folder: Path
    key: bytes
    address: str = ""
    """Of the first node; empty where all ranks are on one node."""
    ports: tuple[int, ...] = ()
    """The store listens on the first of these that is free."""

    @classmethod
    def on_one_node(cls, folder: Path) -> Self:
        """A new one in ``folder``, over a Unix socket."""
        return cls(folder, secrets.token_bytes(32))._written()

    @classmethod
    def of_several_nodes(cls, shared: Path, address: str) -> Self:
        """A new one in a new folder in ``shared``, at ``address`` of this node."""
        ports = [FIRST_PORT + secrets.randbelow(PORTS) for _ in range(SPARE_PORTS)]
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=shared)).absolute()
        return cls(folder, secrets.token_bytes(32), address, tuple(ports))._written()

    @classmethod
    def read(cls, folder: str) -> Self:
        """The one in ``folder``. Raises UserError where it is missing or others may write there."""
        path = Path(folder, _MEETING)
        try:
            status = path.parent.stat()
            values = json.loads(path.read_bytes())
            meeting = cls(
                path.parent,
                bytes.fromhex(values["key"]),
                str(values["address"]),
                tuple(map(int, values["ports"])),
            )
        except OSError as error:
            hint = "`python -m weather_hpc.train.rendezvous` makes it on the first node"
            raise UserError(f"{RENDEZVOUS}={folder}: {path}: {error.strerror}; {hint}") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{RENDEZVOUS}={folder}: {path} is damaged") from None
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise UserError(f"{RENDEZVOUS}={folder}: must belong to you, with mode 0700")
        return meeting

    @property
    def socket(self) -> Path:
        """The Unix socket of one node's store."""
        return self.folder / _SOCKET

    @property
    def group(self) -> Path:
        """The file of the process group's store, on one node."""
        return self.folder / _GROUP

    def _written(self) -> Self:
        values = {"key": self.key.hex(), "address": self.address, "ports": self.ports}
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(self.folder / _MEETING, flags, 0o600), "w") as file:
            json.dump(values, file)
        return self


def own_address(towards: str) -> str:
    """This node's address at the interface that ranks use, else where ``towards`` is reached from.

    Raises UserError where the interface has no address, or there is no way to the other node.
    """
    name = os.environ.get(GLOO_INTERFACE) or os.environ.get(NCCL_INTERFACE, "").lstrip("=")
    if name and not name.startswith("^"):
        name = name.split(",")[0]
        found = {each: address for address, each in sorted(addresses().items(), reverse=True)}
        if name not in found:
            there = ", ".join(sorted(set(found)))
            text = "no interface with an address; there are"
            raise UserError(f"{GLOO_INTERFACE}={name}: {text} {there}")
        return found[name]
    return address_towards(towards)


def address_towards(host: str) -> str:
    """The address of this node from which it reaches ``host``. Nothing is sent."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise UserError(f"{host}: this node has no way to it: {error.strerror}") from None


def select_interface(address: str) -> None:
    """Let gloo and NCCL use only the interface with ``address``, unless variables say otherwise."""
    name = LOOPBACK if ipaddress.ip_address(address).is_loopback else addresses().get(address)
    if name is not None:
        os.environ.setdefault(GLOO_INTERFACE, name)
        os.environ.setdefault(NCCL_INTERFACE, f"={name}")  # not those whose names begin like it


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folder and print its name. Exit code 0; 2 where that fails."""
    parser = cli.Parser("train.rendezvous", description="Make the folder in which ranks meet.")
    parser.add_argument("shared", type=Path, metavar="DIR", help="a folder that all nodes share")
    parser.add_argument("towards", metavar="HOST", help="name or address of another node")
    args = parser.parse_args(argv)
    try:
        args.shared.mkdir(parents=True, exist_ok=True)
        print(Meeting.of_several_nodes(args.shared, own_address(args.towards)).folder)
    except OSError as error:
        raise UserError(f"{args.shared}: {error.strerror}") from None
    return cli.EXIT_OK


if __name__ == "__main__":
    cli.run("train.rendezvous", main)
