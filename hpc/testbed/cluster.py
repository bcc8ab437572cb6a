"""One Slurm on this machine: its state, bringing it up, taking it down."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from daemons import Daemons, Settings, slurmd_of
from files import failure, make_database, write_files
from machine import (
    DONE_WRONG_INPUT,
    TestbedError,
    answers,
    free_ports,
    install_missing,
    is_free,
    own_address,
    write,
)

TRIAL = "testbed-trial"  # the name of the job that `up` runs


def serves(state: str) -> bool:
    """Whether a node in this state can run jobs, now or when others have ended."""
    return state in ("idle", "mixed", "allocated", "completing")


class Testbed(Daemons):
    """One Slurm, in one state directory."""

    # --- State ---

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
        message = " ".join((done.stderr or done.stdout).split())[:300]
        self.complaint = f"{command[0]}: {message}" if done.returncode else ""
        return done

    def node_states(self) -> dict[str, str]:
        """Return each node's state; empty where the controller does not answer."""
        if not self.processes_of("slurmctld"):
            return {}
        answer = self.slurm("sinfo", "-h", "-N", "-o", "%N %T", timeout_s=8)
        return dict(line.split() for line in answer.stdout.splitlines() if " " in line)

    def report(self) -> dict[str, Any]:
        """Return the state of daemons and nodes, as a JSON-able object."""
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

    def wait(self, check: Callable[[], bool], what: str, daemon: str, deadline: float) -> None:
        """Wait until ``check``; fail when its daemon has ended or the deadline has passed."""
        while not check():
            if not self.processes_of(daemon) and not check():
                raise failure(self, f"{daemon} ended before {what}", daemon)
            if time.monotonic() > deadline:
                raise failure(self, f"timeout before {what}", daemon)
            time.sleep(0.05)

    def start_missing(self, names: list[str], deadline: float) -> None:
        """Start those of the daemons that do not run, each when the one before it answers."""
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
                make_database(self)
            self.start(name)
            if name in ready:
                self.wait(ready[name], f"{name} answers", name, deadline)
            if name == "slurmdbd":
                self.wait(self.add_cluster, "accounting knows this cluster", name, deadline)

    def add_cluster(self) -> bool:
        """Add this cluster to accounting; return whether accounting has it."""
        listed = self.slurm("sacctmgr", "-n", "-P", "list", "cluster", "format=cluster")
        if listed.returncode:
            return False
        if "testbed" in listed.stdout.split():
            return True
        return self.slurm("sacctmgr", "-i", "add", "cluster", "testbed").returncode == 0

    def try_out(self, fresh: bool, deadline: float) -> None:
        """Wait for the nodes, run a small job on all of them, wait for accounting."""
        first, last = (slurmd_of(self.settings.node_names()[place]) for place in (0, -1))

        def nodes_serve() -> bool:
            for name in map(slurmd_of, self.settings.node_names()):
                if not self.processes_of(name):
                    raise failure(self, f"{name} ended before its node was ready", name)
            states = self.node_states()
            return all(serves(states.get(n, "")) for n in self.settings.node_names())

        self.wait(nodes_serve, "every node is ready", first, deadline)
        self.slurm("scancel", f"--name={TRIAL}")  # one that an earlier `up` left
        if fresh or not self.slurm("squeue", "-h").stdout.strip():  # it would wait for other jobs
            nodes = str(self.settings.nodes)
            trial = ["srun", "-J", TRIAL, "-N", nodes, "-n", nodes, "--mem=1", "-t", "1"]
            left = max(deadline - time.monotonic(), 5)
            done = self.slurm(*trial, "hostname", timeout_s=left)
            if done.returncode or len(done.stdout.split()) != self.settings.nodes:
                raise failure(self, "the trial job failed", last)
        if self.settings.accounting:

            def accounting_answers() -> bool:
                return self.slurm("sacct", "-n", "-X").returncode == 0

            self.wait(accounting_answers, "sacct answers", "slurmdbd", deadline)

    def choose_settings(self, given: Mapping[str, Any]) -> None:
        """Set the settings from those ``given`` and those of a testbed that is up."""
        alive = self.processes_of(*self.all_known())
        settings = self.settings
        if alive and self.settings_file.exists():
            for name, value in given.items():
                if (current := getattr(settings, name)) != value:
                    raise TestbedError(
                        f"this testbed is up with {name}={current}, not {value}; run `down` first",
                        DONE_WRONG_INPUT,
                    )
            missing = [n for n in settings.daemon_names() if not self.processes_of(n)]
            ports = {settings.ports[name] for name in missing if name in settings.ports}
            if all(map(is_free, ports)):
                return
        self.stop_all()
        kept = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
        settings = Settings(**{**kept, **given})
        settings.host = socket.gethostname().partition(".")[0]
        settings.address = own_address() or "127.0.0.1"
        names = [n for n in settings.daemon_names() if n not in ("munged", "mariadbd")]
        settings.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.settings = settings

    def up(self, given: Mapping[str, Any], timeout_s: float) -> str:
        """Bring it up, whatever its state is now; return a one-line message."""
        begin = time.monotonic()
        if self.report()["up"] and all(getattr(self.settings, n) == v for n, v in given.items()):
            return f"already up in {self.state}"
        install_missing()
        begin = time.monotonic() if begin + 5 < time.monotonic() else begin
        deadline = begin + timeout_s
        self.choose_settings(given)
        fresh = not self.processes_of("slurmctld", *map(slurmd_of, self.settings.node_names()))
        try:
            write_files(self)
            write(self.settings_file, json.dumps(asdict(self.settings), indent=1))
            self.start_missing(self.settings.daemon_names(), deadline)
            if fresh:  # jobs from before a crash have no processes any more
                self.cancel_all()
            self.try_out(fresh, deadline)
        except BaseException:
            self.stop_all()
            self.settings_file.unlink(missing_ok=True)
            raise
        return f"up after {time.monotonic() - begin:.1f} s in {self.state}"

    # --- Going down ---

    def cancel_all(self) -> None:
        """Cancel every job and wait a few seconds for their end."""
        deadline = time.monotonic() + 4
        while self.slurm("squeue", "-h", timeout_s=5).stdout.strip():
            for state in ("PENDING", "RUNNING", "SUSPENDED"):
                self.slurm("scancel", "--quiet", f"--state={state}", timeout_s=5)
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)

    def stop_all(self) -> None:
        """End all jobs, daemons and orphaned processes."""
        if len(self.processes_of("slurmctld", "munged")) == 2 and self.conf.exists():
            self.cancel_all()
        for name in self.all_known():
            if name.startswith("slurmd-"):
                self.stop(name)
        self.end_orphans()
        for name in self.all_known():
            self.stop(name)

    def down(self, purge: bool) -> str:
        """Take it down; with ``purge`` remove its files too."""
        was_up = bool(self.processes_of(*self.all_known()))
        self.stop_all()
        self.settings_file.unlink(missing_ok=True)
        if purge:
            shutil.rmtree(self.state)
        message = "down" if was_up else "was not up"
        files = f"{self.state} removed" if purge else f"files stay in {self.state}"
        return f"{message}; {files}"
