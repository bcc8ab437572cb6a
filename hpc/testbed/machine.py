"""This machine: its packages, ports and files, and the one error that a user is shown."""

import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["munge", "slurmctld", "slurmd", "slurm-client", "slurmdbd", "mariadb-server-core"]
PROGRAMS = ["munged", "slurmctld", "slurmd", "srun", "sacct", "slurmdbd", "mariadbd"]
PATH = os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/sbin", "/sbin"])
DONE_OK, DONE_FAILED, DONE_WRONG_INPUT = 0, 1, 2


class TestbedError(Exception):
    """One clear line for the user, and the exit status that goes with it."""

    def __init__(self, message: str, status: int = DONE_FAILED) -> None:
        super().__init__(message)
        self.status = status


def say(line: str) -> None:
    """Tell the user something at once."""
    print(line, flush=True)


def write(path: Path, text: str) -> None:
    """Write a private file, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)


def answers(address: Path | tuple[str, int]) -> bool:
    """Tell whether someone listens at a socket."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex(str(address) if isinstance(address, Path) else address) == 0


def own_address() -> str | None:
    """Return what the host's name means where that is a loopback address."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return address if address.startswith("127.") else None


def is_free(port: int) -> bool:
    """Tell whether nobody listens at a TCP port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return free ports, below those that Linux hands to outgoing connections."""
    candidates = random.sample(range(20000, 32000), 500)
    found = [port for port in candidates if is_free(port)][:count]
    if len(found) < count:
        raise TestbedError(f"fewer than {count} free TCP ports between 20000 and 32000")
    return found


def succeeds(*command: str) -> bool:
    """Tell whether a command exits 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install_missing() -> None:
    """Install Debian's packages where that is allowed; say what is missing where not."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if not missing:
        return
    advice = f"missing: {', '.join(missing)}; on Debian 12: apt-get install {' '.join(PACKAGES)}"
    if shutil.which("apt-get", path=PATH) is None:
        raise TestbedError(f"{advice} (there is no apt-get here)", DONE_WRONG_INPUT)
    command = ["sh", str(HERE / "install-packages.sh"), *PACKAGES]
    if os.geteuid() != 0:
        command = ["sudo", "-n", *command]
        if shutil.which("sudo") is None or not succeeds("sudo", "-n", "true"):
            raise TestbedError(f"{advice} (needs root)", DONE_WRONG_INPUT)
    say(f"installing Debian's packages: {' '.join(PACKAGES)}")
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    still = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if done.returncode or still:
        tail = "\n    ".join(done.stdout.splitlines()[-8:])
        raise TestbedError(f"{advice} (tried; apt-get ended with)\n    {tail}", DONE_WRONG_INPUT)
