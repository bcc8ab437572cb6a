#!/usr/bin/env python3
"""A real Slurm on one machine: up, down, status, and faults on demand.

Needs Python 3.11 and nothing else; Debian's packages are installed by ``up``
where it may. Everything it writes lies in one state directory, and it ends
only processes that it started there. README.md beside this file tells more.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ["munge", "slurmctld", "slurmd", "slurm-client", "slurmdbd", "mariadb-server-core"]
PROGRAMS = ["munged", "slurmctld", "slurmd", "srun", "sacct", "slurmdbd", "mariadbd"]
PATH = os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/sbin", "/sbin"])
SQL_FOLDERS = (Path("/usr/share/mysql"), Path("/usr/share/mariadb"))
SOCKET_PATH_MAX = 107  # what Linux allows for a socket's path
MEMORY_PER_CPU = 2000  # MB, claimed and given by default
TRIAL = "testbed-trial"  # the name of the job that `up` runs
MARK = "WEATHER_HPC_TESTBED_DAEMON"  # in the environment of each of our daemons
DONE_OK, DONE_FAILED, DONE_WRONG_INPUT = 0, 1, 2


class TestbedError(Exception):
    """One clear line for the user, and the exit status that goes with it."""

    def __init__(self, message: str, status: int = DONE_FAILED) -> None:
        super().__init__(message)
        self.status = status


# --- Processes: known by pid and start time, so that a reused pid is never ours ---


def process_stat(pid: int) -> tuple[str, int, int] | None:
    """Return a process's state letter, parent and start time; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def is_running(pid: int, started: int) -> bool:
    """Tell whether the process that started then under this pid still runs."""
    stat = process_stat(pid)
    return stat is not None and stat[0] not in "ZX" and stat[2] == started


def every_process() -> dict[int, tuple[str, int, int]]:
    """Map each pid to its state letter, parent and start time."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid: stat for pid in pids if (stat := process_stat(pid)) is not None}


def with_children(pids: set[int], processes: Mapping[int, tuple[str, int, int]]) -> set[int]:
    """Return processes, their children, and theirs."""
    found = pids & processes.keys()
    while more := {pid for pid, stat in processes.items() if stat[1] in found} - found:
        found |= more
    return found


def is_step_daemon(pid: int) -> bool:
    """Tell whether a process is one of those that slurmd starts for a job."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "slurmstepd"
    except OSError:
        return False


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with, empty where hidden."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def kill(processes: Mapping[int, int], number: signal.Signals, patience_s: float) -> bool:
    """Signal processes given as pid and start time; tell whether all ended in time."""
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


# --- What one testbed is made of ---


@dataclass
class Settings:
    """What `up` decided, kept in settings.json from `up` to `down`."""

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


class Testbed:
    """One Slurm, in one state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.conf = state / "slurm.conf"
        self.run = state / "run"
        self.settings_file = state / "settings.json"
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.complaint = ""
        """What the last of Slurm's commands said when it failed."""
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
        #: What daemons see: nothing of the caller's but this.
        self.daemon_env = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": PATH,
            "USER": self.user,
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(self.run / "mariadb.socket"),
        }
        #: What Slurm's commands see: the caller's, less inherited options.
        self.client_env = {
            **{n: v for n, v in os.environ.items() if not n.startswith(inherited)},
            "PATH": PATH,
            "SLURM_CONF": str(self.conf),
        }

    @cached_property
    def settings(self) -> Settings:
        """What the last `up` decided, or the defaults."""
        try:
            return Settings(**json.loads(self.settings_file.read_text()))
        except (OSError, ValueError, TypeError):  # none yet, or half written
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
            yield

    # --- Daemons ---

    def log_of(self, daemon: str) -> Path:
        """Return the file that tells what a daemon did."""
        return self.state / "log" / f"{daemon}.log"

    def output_of(self, daemon: str) -> Path:
        """Return the file with what a daemon said besides, before it had its log for example."""
        suffix = "log" if daemon == "munged" else "out"  # munged in the foreground has no other
        return self.state / "log" / f"{daemon}.{suffix}"

    def processes_of(self, *daemons: str) -> dict[int, int]:
        """Return pid and start time of those of the daemons that run."""
        found = {}
        for name in daemons:
            try:
                record = json.loads((self.run / f"{name}.json").read_text())
                pid, started = int(record["pid"]), int(record["started"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if is_running(pid, started):
                found[pid] = started
        return found

    def all_known(self) -> list[str]:
        """Return every daemon of which there is a record, the last started first."""
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
            # --force: a folder of the user's own is safe enough here.
            given = [f"--{name}={value}" for name, value in options.items()]
            return ["munged", "--foreground", "--force", *given]
        if daemon == "mariadbd":
            return ["mariadbd", f"--defaults-file={self.state / 'mariadb.cnf'}"]
        if daemon == "slurmctld":
            return ["slurmctld", "-D", "-i"]  # -i: a half-written state file is no reason to stop
        if daemon == "slurmdbd":
            return ["slurmdbd", "-D"]
        return ["slurmd", "-D", "-N", daemon.removeprefix("slurmd-")]

    def start(self, daemon: str) -> None:
        """Start a daemon and write down which process it is."""
        for name in {"munged": ["munge.socket"], "mariadbd": ["mariadb.socket"]}.get(daemon, []):
            (self.run / name).unlink(missing_ok=True)
        for pid, started in self.strays().items():  # of an `up` that was killed
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
        process.returncode = 0  # it outlives us: say so, or Python warns at exit

    def stop(self, daemon: str, *, hard: bool = False) -> None:
        """End a daemon: gently, then not; nothing if it does not run."""
        processes = self.processes_of(daemon)
        table = every_process()
        helpers = {pid: table[pid][2] for pid in with_children(set(processes), table)}
        if hard or not kill(processes, signal.SIGTERM, 10):
            kill(processes, signal.SIGKILL, 5)
        kill(helpers, signal.SIGKILL, 5)
        (self.run / f"{daemon}.json").unlink(missing_ok=True)

    def strays(self, node: str | None = None) -> dict[int, int]:
        """Return pid and start time of all of ours but the daemons, on one node or on all.

        Those are Slurm's step daemons, what jobs run, and a daemon that was started
        just before `up` was killed. They are told by what their environment says.
        """
        processes = every_process()
        daemons = with_children(set(self.processes_of(*self.all_known())), processes)
        ours = set()
        for pid in processes:
            env = environment_of(pid)
            if env.get("SLURM_CONF") == str(self.conf) and (
                (MARK in env or "SLURMD_NODENAME" in env)
                if node is None
                else (env.get(MARK) == slurmd_of(node) or env.get("SLURMD_NODENAME") == node)
            ):
                ours.add(pid)
        ours = with_children(ours - daemons, processes) - daemons - {os.getpid()}
        return {pid: processes[pid][2] for pid in ours}

    def end_strays(self, node: str | None = None) -> None:
        """End at once all of ours but the daemons, on one node or on all."""
        for _ in range(3):  # something may be starting just now
            processes = self.strays(node)
            if not processes:
                return
            kill(processes, signal.SIGKILL, 5)

    # --- Asking Slurm ---

    def slurm(self, *command: str, timeout_s: float = 15) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands against this testbed."""
        try:
            done = subprocess.run(
                command,
                env=self.client_env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(command, 124, "", f"no answer in {timeout_s:g} s")
        said = " ".join((done.stderr or done.stdout).split())[:300]
        self.complaint = f"{command[0]} says: {said}" if done.returncode else ""
        return done

    def node_states(self) -> dict[str, str]:
        """Ask the controller for each node's state; empty where it does not answer."""
        if not self.processes_of("slurmctld"):
            return {}
        answer = self.slurm("sinfo", "-h", "-N", "-o", "%N %T", timeout_s=8)
        return dict(line.split() for line in answer.stdout.splitlines() if " " in line)

    def report(self) -> dict[str, Any]:
        """Tell how all of it is, as one JSON object."""
        settings = self.settings
        expected = settings.daemon_names() if self.settings_file.exists() else []
        daemons = []
        for name in expected:
            pid = next(iter(self.processes_of(name)), None)
            daemons.append(
                {
                    "name": name,
                    "running": pid is not None,
                    "pid": pid,
                    "port": settings.ports.get(name),
                    "log": str(self.log_of(name)),
                }
            )
        states = self.node_states() if expected else {}
        nodes = [
            {
                "name": name,
                "state": states.get(name, "unknown"),
                "cpus": settings.cpus,
                "gpus": settings.gpus,
            }
            for name in (settings.node_names() if expected else [])
        ]
        good = bool(daemons) and all(daemon["running"] for daemon in daemons)
        good = good and all(serves(str(node["state"])) for node in nodes)
        return {
            "up": good,
            "state_dir": str(self.state),
            "slurm_conf": str(self.conf),
            "accounting": settings.accounting,
            "daemons": daemons,
            "nodes": nodes,
        }

    # --- Coming up ---

    def write_files(self) -> None:
        """Write every file that the daemons read."""
        settings, state = self.settings, self.state
        for name in ("run", "log", "tmp", "spool/slurmctld", "gpu"):
            (state / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        for node in settings.node_names():
            (state / "spool" / node).mkdir(exist_ok=True, mode=0o755)
        for number in range(settings.gpus):
            link = state / "gpu" / f"gpu{number}"
            if not link.is_symlink():
                link.symlink_to("/dev/null")
        key = state / "munge.key"
        if not key.exists() or key.stat().st_size < 32:
            write(key, os.urandom(128).hex())
        if settings.accounting:
            accounting = [
                "AccountingStorageType=accounting_storage/slurmdbd",
                f"AccountingStorageHost={settings.address}",
                f"AccountingStoragePort={settings.ports['slurmdbd']}",
                f"AccountingStoragePass={state}/run/munge.socket",
                "AccountingStorageTRES=gres/gpu",
                "AccountingStoreFlags=job_comment",
            ]
        else:
            accounting = ["AccountingStorageType=accounting_storage/none"]
        nodes = [
            f"NodeName={node} NodeHostname={settings.host} NodeAddr={settings.address}"
            f" Port={settings.ports[slurmd_of(node)]}"
            for node in settings.node_names()
        ]
        gpus = ""
        if settings.gpus:
            which = f"[0-{settings.gpus - 1}]" if settings.gpus > 1 else "0"
            gpus = f"Name=gpu Flags=nvidia_gpu_env File={state}/gpu/gpu{which}"
        common: dict[str, object] = {
            "state": state,
            "user": self.user,
            "host": settings.host,
            "address": settings.address,
            # Bind to what the host's own name means only where that is loopback.
            "communication": "NoInAddrAny,NoCtldInAddrAny"
            if own_address() == settings.address
            else "EnableIPv4",
        }
        texts: dict[str, dict[str, object]] = {
            "slurm.conf": {
                "controller_port": settings.ports["slurmctld"],
                "cred_expire": 5,
                "cpus": settings.cpus,
                "gpus": settings.gpus,
                "memory": settings.cpus * MEMORY_PER_CPU,
                "memory_per_cpu": MEMORY_PER_CPU,
                "max_array_size": settings.max_array_size,
                "accounting": "\n".join(accounting),
                "nodes": "\n".join(nodes),
            },
            "gres.conf": {"gpus": gpus},
        }
        if settings.accounting:
            texts["slurmdbd.conf"] = {"accounting_port": settings.ports["slurmdbd"]}
            texts["mariadb.cnf"] = {}
        for name, values in texts.items():
            template = Template((HERE / "templates" / name).read_text())
            write(state / name, template.substitute(common | values))

    def make_database(self) -> None:
        """Lay MariaDB's own tables, whole or not at all."""
        data, half = self.state / "mariadb", self.state / "mariadb.half"
        if data.exists():
            return
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        folder = next((f for f in SQL_FOLDERS if (f / "mysql_system_tables.sql").exists()), None)
        if folder is None:
            raise TestbedError("MariaDB's mysql_system_tables.sql is not where Debian puts it")
        names = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
        script = "\n".join(
            [
                "create database if not exists mysql;",
                "use mysql;",
                f"set @auth_root_socket='{self.user}';",  # that account, without a password
                *((folder / name).read_text() for name in names),
            ]
        )
        command = self.command_of("mariadbd")
        with self.output_of("mariadbd").open("wb") as output:
            done = subprocess.run(
                [*command, f"--datadir={half}", "--bootstrap", "--log-warnings=0"],
                input=script.encode(),
                env=self.daemon_env,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise self.failure("MariaDB could not lay its tables", "mariadbd")
        half.rename(data)

    def failure(self, what: str, daemon: str) -> TestbedError:
        """Make the error that names a daemon's log and ends with its last lines."""
        log = max(
            (path for path in (self.output_of(daemon), self.log_of(daemon)) if path.exists()),
            key=lambda path: (path.stat().st_size > 0, path.stat().st_mtime),
            default=self.log_of(daemon),
        )
        lines = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
        if self.complaint:
            what = f"{what} ({self.complaint})"
        return TestbedError("\n    ".join([f"{what}; see {log}, which ends with:", *lines]))

    def wait(self, check: Callable[[], bool], what: str, daemon: str, deadline: float) -> None:
        """Wait until something holds; give up when its daemon is gone or time is."""
        while not check():
            if not self.processes_of(daemon) and not check():
                raise self.failure(f"{daemon} ended before {what}", daemon)
            if time.monotonic() > deadline:
                raise self.failure(f"{what}: not in time", daemon)
            time.sleep(0.05)

    def start_missing(self, names: list[str], deadline: float) -> None:
        """Start those of the daemons that do not run, each when what it needs is there."""
        ports, address, run = self.settings.ports, self.settings.address, self.run
        ready: dict[str, Callable[[], bool]] = {
            "munged": lambda: answers(run / "munge.socket"),
            "mariadbd": lambda: answers(run / "mariadb.socket"),
            "slurmdbd": lambda: answers((address, ports["slurmdbd"])),
            "slurmctld": lambda: self.slurm("scontrol", "ping").returncode == 0,
        }
        missing = [name for name in names if not self.processes_of(name)]
        for name in missing:
            if name == "mariadbd":
                self.make_database()
            self.start(name)
            if name in ready:
                self.wait(ready[name], f"{name} answers", name, deadline)
            if name == "slurmdbd":
                self.wait(self.add_cluster, "accounting knows this cluster", name, deadline)

    def add_cluster(self) -> bool:
        """Tell accounting of this cluster; true once it knows."""
        listed = self.slurm("sacctmgr", "-n", "-P", "list", "cluster", "format=cluster")
        if listed.returncode:
            return False
        if "testbed" in listed.stdout.split():
            return True
        return self.slurm("sacctmgr", "-i", "add", "cluster", "testbed").returncode == 0

    def try_out(self, fresh: bool, deadline: float) -> None:
        """Wait for the nodes, run one small job across all of them, ask accounting."""
        first, last = (slurmd_of(self.settings.node_names()[place]) for place in (0, -1))

        def nodes_serve() -> bool:
            for name in map(slurmd_of, self.settings.node_names()):
                if not self.processes_of(name):
                    raise self.failure(f"{name} ended before its node was ready", name)
            states = self.node_states()
            return all(serves(states.get(n, "")) for n in self.settings.node_names())

        self.wait(nodes_serve, "every node is ready", first, deadline)
        self.slurm("scancel", f"--name={TRIAL}")  # a controller that died may still know the last
        if fresh or not self.slurm("squeue", "-h").stdout.strip():  # jobs at work go first
            nodes = str(self.settings.nodes)
            trial = ["srun", "-J", TRIAL, "-N", nodes, "-n", nodes, "--mem=1", "-t", "1"]
            left = max(deadline - time.monotonic(), 5)
            done = self.slurm(*trial, "hostname", timeout_s=left)
            if done.returncode or len(done.stdout.split()) != self.settings.nodes:
                raise self.failure("the trial job failed", last)
        if self.settings.accounting:

            def accounting_answers() -> bool:
                return self.slurm("sacct", "-n", "-X").returncode == 0

            self.wait(accounting_answers, "sacct answers", "slurmdbd", deadline)

    def choose(self, wanted: Mapping[str, Any]) -> None:
        """Settle what this testbed will be, from what is asked and what is there."""
        alive = self.processes_of(*self.all_known())
        settings = self.settings
        if alive and self.settings_file.exists():
            for name, value in wanted.items():
                if (has := getattr(settings, name)) != value:
                    raise TestbedError(
                        f"this testbed is up with {name}={has}, not {value}; run `down` first",
                        DONE_WRONG_INPUT,
                    )
            missing = [n for n in settings.daemon_names() if not self.processes_of(n)]
            ports = {settings.ports[name] for name in missing if name in settings.ports}
            if all(map(is_free, ports)):
                return
        self.stop_all()
        kept = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
        settings = Settings(**{**kept, **wanted})
        settings.host = socket.gethostname().partition(".")[0]
        settings.address = own_address() or "127.0.0.1"
        names = [n for n in settings.daemon_names() if n not in ("munged", "mariadbd")]
        settings.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.__dict__["settings"] = settings

    def up(self, wanted: Mapping[str, Any], timeout_s: float) -> str:
        """Bring it up, whatever is there now; return one line that says so."""
        begin = time.monotonic()
        if self.report()["up"] and all(getattr(self.settings, n) == v for n, v in wanted.items()):
            return f"already up in {self.state}"
        install_missing()
        begin = time.monotonic() if begin + 5 < time.monotonic() else begin
        deadline = begin + timeout_s
        self.choose(wanted)
        fresh = not self.processes_of("slurmctld", *map(slurmd_of, self.settings.node_names()))
        try:
            self.write_files()
            write(self.settings_file, json.dumps(asdict(self.settings), indent=1))
            self.start_missing(self.settings.daemon_names(), deadline)
            if fresh:  # jobs from before a crash have lost their processes
                self.cancel_all()
            self.try_out(fresh, deadline)
        except BaseException:
            self.stop_all()
            self.settings_file.unlink(missing_ok=True)
            raise
        return f"up after {time.monotonic() - begin:.1f} s in {self.state}"

    # --- Going down ---

    def cancel_all(self) -> None:
        """Cancel every job, and give them a few seconds to go."""
        deadline = time.monotonic() + 4
        while self.slurm("squeue", "-h", timeout_s=5).stdout.strip():
            for state in ("PENDING", "RUNNING", "SUSPENDED"):
                self.slurm("scancel", "--quiet", f"--state={state}", timeout_s=5)
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)

    def stop_all(self) -> None:
        """End jobs and daemons; leave no process behind."""
        if len(self.processes_of("slurmctld", "munged")) == 2 and self.conf.exists():
            self.cancel_all()
        for name in self.all_known():
            if name.startswith("slurmd-"):
                self.stop(name)
        self.end_strays()
        for name in self.all_known():
            self.stop(name)

    def down(self, purge: bool) -> str:
        """Take it down; with purge, its files too."""
        was_up = bool(self.processes_of(*self.all_known()))
        self.stop_all()
        self.settings_file.unlink(missing_ok=True)
        if purge:
            shutil.rmtree(self.state)
        said = "down" if was_up else "was not up"
        return f"{said}; {self.state} is gone" if purge else f"{said}; files stay in {self.state}"


# --- Small helpers ---


def serves(state: str) -> bool:
    """Tell whether a node in this state can run jobs now or once others end."""
    return state in ("idle", "mixed", "allocated", "completing")


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


def say(line: str) -> None:
    """Tell the user something at once."""
    print(line, flush=True)


def table(report: Mapping[str, Any]) -> list[str]:
    """Lay out a report for people."""
    lines = [f"{'up' if report['up'] else 'not up'}: {report['state_dir']}"]
    for daemon in report["daemons"]:
        state = f"pid {daemon['pid']}" if daemon["running"] else "NOT RUNNING"
        port = f"port {daemon['port']}" if daemon["port"] else ""
        lines.append(f"  {daemon['name']:<14}{state:<13}{port:<12}{daemon['log']}")
    lines += [
        f"  {node['name']:<14}{node['state']:<13}{node['cpus']} CPUs, {node['gpus']} GPUs"
        for node in report["nodes"]
    ]
    return lines


# --- Command line ---


def state_directory(given: str | None) -> Path:
    """Return the state directory: as given, from the environment, or the usual one."""
    if chosen := given or os.environ.get("WEATHER_HPC_TESTBED"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "weather_hpc" / "testbed"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        metavar="DIR",
        help="where everything lives (default: $WEATHER_HPC_TESTBED,"
        " else ${XDG_STATE_HOME:-~/.local/state}/weather_hpc/testbed)",
    )
    common.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    whole = argparse.ArgumentParser(
        prog="testbed", description="A real Slurm on one machine, for trying things and for tests."
    )
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, parents=[common])

    up = verb("up", "Bring it up (again), and install Debian's packages where that is allowed.")
    defaults = Settings()
    whats = {
        "nodes": "virtual nodes",
        "cpus": "CPUs that each node claims",
        "gpus": "GPUs that each node claims",
        "max-array-size": "MaxArraySize: one more than the highest array index",
    }
    for name, what in whats.items():
        default = getattr(defaults, name.replace("-", "_"))
        up.add_argument(f"--{name}", type=int, metavar="N", help=f"{what} (default: {default})")
    up.add_argument(
        "--accounting",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="with slurmdbd and MariaDB (the default), so that sacct answers; or without",
    )
    up.add_argument(
        "--timeout", type=float, default=60, metavar="S", help="give up after S seconds (60)"
    )
    down = verb("down", "Cancel all jobs and end every daemon.")
    down.add_argument("--purge", action="store_true", help="remove the state directory too")
    verb("status", "Tell how it is: exit 0 if up, 1 if not.")
    for name, text in {
        "kill-node": "Let a node die, with all that runs on it.",
        "start-node": "Start a node that died.",
    }.items():
        verb(name, text).add_argument("node", metavar="NAME")
    controller = verb("restart-controller", "Stop and start slurmctld; the queue stays.")
    controller.add_argument("--hard", action="store_true", help="by kill -9")
    verb("stop-accounting", "Kill slurmdbd, so that sacct stops answering.")
    verb("start-accounting", "Start slurmdbd again.")
    return whole


def wanted_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `up` was asked for outright, checked."""
    names = ("nodes", "cpus", "gpus", "accounting", "max_array_size")
    wanted = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    for name, (low, high) in {
        "nodes": (1, 64),
        "cpus": (1, 1024),
        "gpus": (0, 64),
        "max_array_size": (2, 100000),
    }.items():
        if not low <= wanted.get(name, low) <= high:
            raise TestbedError(
                f"--{name.replace('_', '-')} {wanted[name]}: from {low} to {high}, please",
                DONE_WRONG_INPUT,
            )
    return wanted


def change(testbed: Testbed, options: argparse.Namespace) -> str:
    """Do a fault verb on a testbed that is up; return one line that says what was done."""
    verb = options.verb
    settings = testbed.settings
    if not testbed.settings_file.exists() or not testbed.processes_of("munged"):
        raise TestbedError(f"{verb}: there is no testbed up in {testbed.state}; run `up` first")
    deadline = time.monotonic() + 30
    if verb in ("kill-node", "start-node"):
        if options.node not in settings.node_names():
            names = ", ".join(settings.node_names())
            raise TestbedError(f"{verb} {options.node}: the nodes are {names}", DONE_WRONG_INPUT)
        daemon = slurmd_of(options.node)
        if verb == "kill-node":
            testbed.stop(daemon, hard=True)
            testbed.end_strays(options.node)
            return f"{options.node} is dead; the controller notices within 30 s or so"

        def node_serves() -> bool:
            return serves(testbed.node_states().get(options.node, ""))

        testbed.start_missing([daemon], deadline)
        testbed.wait(node_serves, "the node is ready", daemon, deadline)
        return f"{options.node} serves again"
    if verb == "restart-controller":
        testbed.stop("slurmctld", hard=options.hard)
        testbed.start_missing(["slurmctld"], deadline)
        return "the controller is back"
    if not settings.accounting:
        raise TestbedError(f"{verb}: this testbed is up without accounting", DONE_WRONG_INPUT)
    if verb == "stop-accounting":
        testbed.stop("slurmdbd", hard=True)
        return "accounting is gone"
    testbed.start_missing(["mariadbd", "slurmdbd"], deadline)
    return "accounting is back"


def run_verb(options: argparse.Namespace) -> int:
    """Do what was asked; return the exit status."""
    testbed = Testbed(state_directory(options.state))
    wanted = wanted_settings(options) if options.verb == "up" else {}
    status = DONE_OK
    said: list[str]
    if options.verb == "status":
        said = table(testbed.report())
        status = DONE_OK if said[0].startswith("up") else DONE_FAILED
    elif options.verb == "down" and not testbed.state.exists():
        said = [f"was not up; there is no {testbed.state}"]
    else:
        with testbed.locked(create=options.verb == "up"):
            if options.verb == "up":
                said = [testbed.up(wanted, options.timeout)]
                said.append(f"export SLURM_CONF={testbed.conf}")
            elif options.verb == "down":
                said = [testbed.down(options.purge)]
            else:
                said = [change(testbed, options)]
    for line in said:
        say(line)
    if options.json:
        say(json.dumps(testbed.report()))
    return status


def main() -> int:
    """Run the command line."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `up` cleans up first
    try:
        return run_verb(options)
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("testbed: interrupted; everything started was ended again", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
