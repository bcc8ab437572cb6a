"""The daemons of one testbed: their names and commands; starting, finding and ending them."""

import contextlib
import fcntl
import json
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from machine import (
    DONE_WRONG_INPUT,
    PATH,
    TestbedError,
    environment_of,
    every_process,
    is_running,
    is_step_daemon,
    kill,
    process_stat,
    with_descendants,
    write,
)

SOCKET_PATH_MAX = 107  # what Linux allows for a socket's path
MARK = "WEATHER_HPC_TESTBED_DAEMON"  # in the environment of each of our daemons


@dataclass
class Settings:
    """The settings of a testbed, kept in settings.json from `up` to `down`."""

    nodes: int = 2
    cpus: int = 16
    gpus: int = 4
    accounting: bool = True
    max_array_size: int = 1001
    host: str = ""
    address: str = ""
    ports: dict[str, int] = field(default_factory=dict)

    def node_names(self) -> list[str]:
        """Return node1 ... nodeN."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def daemon_names(self) -> list[str]:
        """Return every daemon, in the order in which they start."""
        accounting = ["mariadbd", "slurmdbd"] if self.accounting else []
        return ["munged", *accounting, "slurmctld", *map(slurmd_of, self.node_names())]


def slurmd_of(node: str) -> str:
    """Return the name of a node's daemon."""
    return f"slurmd-{node}"


class Daemons:
    """The daemons of one Slurm, in one state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.conf = state / "slurm.conf"
        self.run = state / "run"
        self.settings_file = state / "settings.json"
        self.settings = self._kept_settings()
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.complaint = ""
        """The message of the last of Slurm's commands, where it failed."""
        longest = self.run / "mariadb.socket"
        if len(os.fsencode(longest)) > SOCKET_PATH_MAX or set(str(state)) & set(" \t\n#=\"'%"):
            raise TestbedError(
                f"state directory {state}: its path must be short (at most"
                f" {SOCKET_PATH_MAX - len('/run/mariadb.socket')} characters) and plain"
                " (no blanks, quotes, #, = or %); choose another with --state",
                DONE_WRONG_INPUT,
            )
        kept = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
        inherited = ("SLURM", "SBATCH", "SACCT")
        #: The daemons' environment: nothing else of the caller's.
        self.daemon_env = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": PATH,
            "USER": self.user,
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(self.run / "mariadb.socket"),
        }
        #: The environment of Slurm's commands: the caller's without inherited options.
        self.client_env = {
            **{n: v for n, v in os.environ.items() if not n.startswith(inherited)},
            "PATH": PATH,
            "SLURM_CONF": str(self.conf),
        }

    def _kept_settings(self) -> Settings:
        """The settings of the last `up`, or the defaults."""
        try:
            return Settings(**json.loads(self.settings_file.read_text()))
        except (OSError, ValueError, TypeError):  # none yet, or incomplete
            return Settings()

    @contextlib.contextmanager
    def locked(self, *, create: bool) -> Iterator[None]:
        """Let one verb at a time change this testbed."""
        try:
            if create:
                self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = (self.state / "lock").open("w")
        except OSError as error:
            if not create and not self.state.exists():
                raise TestbedError(f"no testbed in {self.state}; run `up` first") from None
            raise TestbedError(f"state directory {self.state}: {error}", DONE_WRONG_INPUT) from None
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self.settings = self._kept_settings()  # another verb may have changed them
            yield

    # --- Daemons ---

    def log_of(self, daemon: str) -> Path:
        """Return a daemon's log file."""
        return self.state / "log" / f"{daemon}.log"

    def output_of(self, daemon: str) -> Path:
        """Return the file with a daemon's stdout and stderr."""
        suffix = "log" if daemon == "munged" else "out"  # munged in the foreground has no other
        return self.state / "log" / f"{daemon}.{suffix}"

    def processes_of(self, *daemons: str) -> dict[int, int]:
        """Return pid and start time of those of the daemons that run."""
        running = {}
        for name in daemons:
            try:
                record = json.loads((self.run / f"{name}.json").read_text())
                pid, started = int(record["pid"]), int(record["started"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if is_running(pid, started):
                running[pid] = started
        return running

    def all_known(self) -> list[str]:
        """Return every daemon that `up` has recorded, the last started first."""
        order = ["munged", "mariadbd", "slurmdbd", "slurmctld"]
        names = [path.stem for path in self.run.glob("*.json")]
        rank = {name: place for place, name in enumerate(order)}
        return sorted(names, key=lambda name: rank.get(name, len(order)), reverse=True)

    def command_of(self, daemon: str) -> list[str]:
        """Return the command that runs a daemon in the foreground."""
        run = self.run
        if daemon == "munged":
            socket_, key = run / "munge.socket", self.state / "munge.key"
            options = {
                "socket": socket_,
                "key-file": key,
                "seed-file": self.state / "munge.seed",
                "pid-file": run / "munged.pid",
            }
            # --force: a folder that only the user can write is safe enough here
            flags = [f"--{name}={value}" for name, value in options.items()]
            return ["munged", "--foreground", "--force", *flags]
        if daemon == "mariadbd":
            return ["mariadbd", f"--defaults-file={self.state / 'mariadb.cnf'}"]
        if daemon == "slurmctld":
            return ["slurmctld", "-D", "-i"]  # -i: start in spite of an incomplete state file
        if daemon == "slurmdbd":
            return ["slurmdbd", "-D"]
        return ["slurmd", "-D", "-N", daemon.removeprefix("slurmd-")]

    def start(self, daemon: str) -> None:
        """Start a daemon and record its process."""
        for name in {"munged": ["munge.socket"], "mariadbd": ["mariadb.socket"]}.get(daemon, []):
            (self.run / name).unlink(missing_ok=True)
        for pid, started in self.orphans().items():  # of an `up` that was killed
            if environment_of(pid).get(MARK) == daemon and not is_step_daemon(pid):
                kill({pid: started}, signal.SIGKILL, 5)
        with self.output_of(daemon).open("wb") as output:
            process = subprocess.Popen(
                self.command_of(daemon),
                env={**self.daemon_env, MARK: daemon},
                cwd=self.state,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        stat = process_stat(process.pid)
        record = {"pid": process.pid, "started": stat[2] if stat else 0}
        write(self.run / f"{daemon}.json", json.dumps(record))

    def stop(self, daemon: str, *, hard: bool = False) -> None:
        """End a daemon with TERM, then KILL; with KILL only if ``hard``."""
        processes = self.processes_of(daemon)
        table = every_process()
        helpers = {pid: table[pid][2] for pid in with_descendants(set(processes), table)}
        if hard or not kill(processes, signal.SIGTERM, 10):
            kill(processes, signal.SIGKILL, 5)
        kill(helpers, signal.SIGKILL, 5)
        (self.run / f"{daemon}.json").unlink(missing_ok=True)

    def orphans(self, node: str | None = None) -> dict[int, int]:
        """Return pid and start time of our processes except the daemons, on one node or on all.

        Those are Slurm's step daemons, the processes of jobs, and a daemon that was started just
        before `up` was killed. They are recognized by their environment.
        """
        processes = every_process()
        daemons = with_descendants(set(self.processes_of(*self.all_known())), processes)
        ours = set()
        for pid in processes:
            env = environment_of(pid)
            if env.get("SLURM_CONF") == str(self.conf) and (
                (MARK in env or "SLURMD_NODENAME" in env)
                if node is None
                else (env.get(MARK) == slurmd_of(node) or env.get("SLURMD_NODENAME") == node)
            ):
                ours.add(pid)
        ours = with_descendants(ours - daemons, processes) - daemons - {os.getpid()}
        # the oldest first: a step daemon that outlives its task reports that it failed
        return {pid: processes[pid][2] for pid in sorted(ours, key=lambda p: (processes[p][2], p))}

    def end_orphans(self, node: str | None = None) -> None:
        """Kill our processes except the daemons, on one node or on all."""
        for _ in range(3):  # new ones may be starting
            processes = self.orphans(node)
            if not processes:
                return
            kill(processes, signal.SIGKILL, 5)
