"""This machine: its packages, ports, files and processes; the error that a user sees."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
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
    """Print a line without delay."""
    print(line, flush=True)


def write(path: Path, text: str) -> None:
    """Write a private file atomically."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def answers(address: Path | tuple[str, int]) -> bool:
    """Whether a process listens at a socket."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex(str(address) if isinstance(address, Path) else address) == 0


def own_address() -> str | None:
    """Return the address of the host's name if it is a loopback address."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return address if address.startswith("127.") else None


def is_free(port: int) -> bool:
    """Whether no process listens at a TCP port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return free ports, below those that Linux assigns to outgoing connections."""
    candidates = random.sample(range(20000, 32000), 500)
    ports = [port for port in candidates if is_free(port)][:count]
    if len(ports) < count:
        raise TestbedError(f"fewer than {count} free TCP ports between 20000 and 32000")
    return ports


def succeeds(*command: str) -> bool:
    """Whether a command exits with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install_missing() -> None:
    """Install Debian's packages; raise TestbedError where that is not allowed or fails."""
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
        raise TestbedError(f"{advice} (apt-get failed)\n    {tail}", DONE_WRONG_INPUT)


# --- Processes: known by pid and start time, so that a reused pid is never taken for ours ---


def process_stat(pid: int) -> tuple[str, int, int] | None:
    """Return a process's state letter, parent and start time; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def is_running(pid: int, started: int) -> bool:
    """Whether the process with this pid and start time is running."""
    stat = process_stat(pid)
    return stat is not None and stat[0] not in "ZX" and stat[2] == started


def every_process() -> dict[int, tuple[str, int, int]]:
    """Map each pid to its state letter, parent and start time."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid: stat for pid in pids if (stat := process_stat(pid)) is not None}


def with_descendants(pids: set[int], processes: Mapping[int, tuple[str, int, int]]) -> set[int]:
    """Return the processes among ``pids`` and all their descendants."""
    family = pids & processes.keys()
    while more := {pid for pid, stat in processes.items() if stat[1] in family} - family:
        family |= more
    return family


def is_step_daemon(pid: int) -> bool:
    """Whether a process is one that slurmd starts for a job step."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "slurmstepd"
    except OSError:
        return False


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; empty where it is not readable."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def kill(processes: Mapping[int, int], number: signal.Signals, patience_s: float) -> bool:
    """Signal processes given as pid and start time; return whether all ended in time."""
    for pid, started in processes.items():
        if is_running(pid, started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    deadline = time.monotonic() + patience_s
    while any(is_running(pid, started) for pid, started in processes.items()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
