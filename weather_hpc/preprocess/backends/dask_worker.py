"""A Dask worker on another node: it listens only on the address by which it reaches its scheduler.

    python -m weather_hpc.preprocess.backends.dask_worker SCHEDULER [option of Dask's worker ...]

Dask's own, without ``--interface``, listens on all addresses and tells the scheduler this one.
"""

import sys
from collections.abc import Sequence

from distributed.cli.dask_worker import main as dask_worker
from distributed.comm import get_address_host
from distributed.utils import get_ip


def arguments(argv: Sequence[str]) -> list[str]:
    """``argv``, with the address to listen on where no interface is named."""
    if "--interface" in argv:
        return [*argv]
    return [*argv, "--host", get_ip(get_address_host(argv[0]))]


if __name__ == "__main__":
    dask_worker(arguments(sys.argv[1:]))
