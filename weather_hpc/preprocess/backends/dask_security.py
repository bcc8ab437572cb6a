"""Who may use a Dask cluster: only who holds the key that is made for the run.

Any user of a node can connect to its ports, and who can talk to Dask's scheduler, nannies or
workers runs code as their user. So each side of a connection shows the run's certificate, over TLS.
"""

import os
from pathlib import Path
from typing import Any

from distributed import Security

from weather_hpc.errors import UserError

PRIVATE: dict[str, Any] = {
    "distributed.comm.require-encryption": True,
    # The HTTP servers of scheduler and workers cannot be disabled and ask for no certificate. By
    # default they show tasks, logs and addresses to all; now the list of what they serve is empty.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""For all processes of a cluster, on any node."""

# By default the scheduler's HTTP server takes port 8787, which a second run on the node finds
# taken, and listens to the whole network.
LOOPBACK_HTTP = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def make_certificate() -> Security:
    """A key and certificate for this run alone, in memory.

    Raises UserError where the package that makes them is missing.
    """
    try:
        return Security.temporary()
    except ImportError as error:
        raise UserError(f"Dask: {error}; pip install 'weather_hpc[dask]'") from None


def write_certificate(folder: Path) -> Security:
    """A key and certificate for this run alone, in new files of ``folder``, of mode 600.

    Only for processes that cannot be handed them in memory. ``folder`` must be this user's alone.
    Raises UserError as :func:`make_certificate`, and FileExistsError where such a file is there.
    """
    made = make_certificate()
    files: dict[str, str] = {}
    for kind, text in (("cert", made.tls_worker_cert), ("key", made.tls_worker_key)):
        path = folder / f"{kind}.pem"
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
        files |= {f"tls_{role}_{kind}": str(path) for role in ("client", "scheduler", "worker")}
    ca_file = files["tls_worker_cert"]  # self-signed
    return Security(require_encryption=True, tls_ca_file=ca_file, **files)
