"""Who may use a Dask cluster: only who holds the key that is made for the run.

Any user of a node can connect to its ports, and who can talk to Dask's scheduler, nannies or
workers runs code as their user. So each side of a connection shows the run's certificate, over TLS.
"""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from distributed import Security

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


# A run's certificate ends with the run. Dask's own, valid from the second in which it is made,
# would be refused by a node whose clock is behind.
VALID = (datetime.datetime(2000, 1, 1), datetime.datetime(9999, 12, 31))


def make_certificate() -> Security:
    """A key and certificate for this run alone, in memory."""
    return _security(*_pair())


def write_certificate(folder: Path) -> Security:
    """A key and certificate for this run alone, in new files of ``folder``, of mode 600.

    For processes that cannot be handed them in memory. ``folder`` must be this user's alone.
    Raises FileExistsError where such a file is there.
    """
    paths = folder / "cert.pem", folder / "key.pem"
    for path, text in zip(paths, _pair(), strict=True):
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text)
    return _security(*map(str, paths))


def _pair() -> tuple[str, str]:
    """Certificate and key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weather_hpc")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), *VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), private.decode()


def _security(certificate: str, key: str) -> Security:
    """``certificate`` and ``key``, texts or paths, for all three sides; it is its own authority."""
    files = {
        f"tls_{role}_{kind}": value
        for role in ("client", "scheduler", "worker")
        for kind, value in (("cert", certificate), ("key", key))
    }
    return Security(require_encryption=True, tls_ca_file=certificate, **files)
