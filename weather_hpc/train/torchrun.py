"""``python -m weather_hpc.train.torchrun``: torchrun, with a store that only this run can use.

python -m weather_hpc.train.torchrun --nproc-per-node 2 -m weather_hpc.train ...

torchrun's own stores listen on all addresses and trust who connects: another user of the node could
run code as us. Here ranks of one node meet in a folder that only this user can enter. Those of
several nodes meet at a store of ours on the first node, which answers only to who has the key of
the run; WEATHER_HPC_RENDEZVOUS names the folder with it (:mod:`weather_hpc.train.rendezvous`).
Options are torchrun's, and PET_<OPTION> in the environment too, but for those on the rendezvous.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import record
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import temporary_folder
from weather_hpc.text import one_line
from weather_hpc.train.exchange import LONGEST_POLL_S, RANK_TIMEOUT, rank_timeout_s
from weather_hpc.train.rendezvous import (
    LOOPBACK,
    MEMORY,
    NO_PORT,
    RENDEZVOUS,
    Meeting,
    address_towards,
    select_interface,
)
from weather_hpc.train.shared_store import SharedStore
from weather_hpc.train.store_server import StoreServer

NAME = "weather_hpc"
"""Of the rendezvous, among torchrun's."""

PATIENCE_S = 600.0
"""How long the launchers of several nodes wait for each other."""

ROOM = 1 << 20
"""Bytes that a file system must have left for the folder of one node."""


class PrivateRendezvous(RendezvousHandler):
    """All nodes are known from the start, and their launchers meet at the run's store."""

    def __init__(self, store: SharedStore, node: int, nodes: int, run_id: str) -> None:
        self._store, self._node, self._nodes, self._run_id = store, node, nodes, run_id

    def get_backend(self) -> str:
        """Its name."""
        return NAME

    @property
    def use_agent_store(self) -> bool:
        """Ranks open no store of their own."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """The launchers' store, and what ranks get as MASTER_ADDR and MASTER_PORT."""
        address = self._store.address or "localhost"
        place = RendezvousStoreInfo(address, NO_PORT)
        own = dist.PrefixStore("launchers", self._store)  # type: ignore[attr-defined]
        return RendezvousInfo(own, self._node, self._nodes, place)

    def is_closed(self) -> bool:
        """Never: nodes neither come nor go."""
        return False

    def set_closed(self) -> None:
        """Nothing to close."""

    def num_nodes_waiting(self) -> int:
        """None."""
        return 0

    def get_run_id(self) -> str:
        """torchrun's."""
        return self._run_id

    def shutdown(self) -> bool:
        """Nothing is left open."""
        return True


@contextmanager
def _folder_of_one_node() -> Iterator[Path]:
    """A folder in memory, else where temporary files are. Raises UserError."""
    why = ""
    for place in (MEMORY, None):
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(temporary_folder("rendezvous", place))
                with (folder / "room").open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, ROOM)
                (folder / "room").unlink()
            except OSError as error:
                why = one_line(error)
                continue
            yield folder
            return
    raise UserError(f"no folder for the ranks to meet in, neither in {MEMORY} nor elsewhere: {why}")


def _meet(stack: ExitStack, node: int, nodes: int) -> SharedStore:
    """The run's store, served here where ``node`` is the first, until the end of ``stack``."""
    if nodes == 1:
        meeting = Meeting.on_one_node(stack.enter_context(_folder_of_one_node()))
        os.environ[RENDEZVOUS] = str(meeting.folder)
    else:
        if not os.environ.get(RENDEZVOUS):
            hint = "the folder that `python -m weather_hpc.train.rendezvous` made on the first node"
            raise UserError(f"{RENDEZVOUS}: not set; with --nnodes {nodes} it names {hint}")
        meeting = Meeting.read(os.environ[RENDEZVOUS])
        select_interface(address_towards(meeting.address))
    if node == 0:
        if nodes > 1:
            stack.callback(shutil.rmtree, meeting.folder, ignore_errors=True)
        stack.enter_context(StoreServer(meeting))
    return SharedStore(meeting, timedelta(seconds=PATIENCE_S), PATIENCE_S if node else 0.0)


def await_launchers(store: Any, node: int, nodes: int) -> None:
    """Wait until the launchers of all nodes have started. Raises FailedError naming the others."""
    store.set(f"launcher/{node}", "started")
    limit_s = rank_timeout_s()
    deadline = time.monotonic() + limit_s
    missing = list(range(nodes))
    while missing := [other for other in missing if not store.check([f"launcher/{other}"])]:
        if time.monotonic() > deadline:
            listed = os.environ.get("SLURM_JOB_NODELIST")
            raise FailedError(
                f"no launcher has started within {limit_s:g} s ({RANK_TIMEOUT}) on node "
                f"{', '.join(map(str, missing))} of {nodes}, counted from 0"
                + (f", of {listed}" if listed else "")
            )
        time.sleep(LONGEST_POLL_S)


@record
def _launch(args: Any) -> None:
    run.run(args)  # type: ignore[no-untyped-call]


def main() -> int:
    """Start the ranks. Exit code 0; 2 where they cannot meet, 1 where one fails.

    Raises SignalException where a signal ends them.
    """
    args = run.parse_args(sys.argv[1:])  # type: ignore[no-untyped-call]
    nodes, most = run.parse_min_max_nnodes(args.nnodes)
    node = args.node_rank
    if nodes != most:
        raise UserError(f"--nnodes {args.nnodes}: the number of nodes must be fixed")
    if not 0 <= node < nodes:
        raise UserError(f"--node-rank {node}: of {nodes} nodes they are 0 to {nodes - 1}")
    with ExitStack() as stack:
        store = _meet(stack, node, nodes)
        await_launchers(store, node, nodes)

        def create(parameters: RendezvousParameters) -> RendezvousHandler:
            return PrivateRendezvous(store, node, nodes, parameters.run_id)

        rendezvous_handler_registry.register(NAME, create)
        args.standalone, args.rdzv_backend, args.rdzv_endpoint = False, NAME, LOOPBACK
        args.node_rank = 0  # torchrun warns of another one where the rendezvous is not its own
        if args.log_dir is None:  # else torchrun leaves a folder behind at every start
            args.log_dir = str(stack.enter_context(temporary_folder("torchrun")))
        _launch(args)
    return cli.EXIT_OK


if __name__ == "__main__":
    try:
        code = main()
    except SignalException as error:  # its ranks have been told, and rank 0 says how to go on
        code = 128 + error.sigval
    except (UserError, FailedError) as error:  # of ranks, torchrun shows what they raised
        print(f"train.torchrun: {one_line(error)}", file=sys.stderr)
        code = cli.EXIT_USAGE if isinstance(error, UserError) else cli.EXIT_FAILED
    sys.exit(code)
