#!/usr/bin/env python3
"""A real Slurm on one machine: up, down, status, and faults on demand.

Needs Python 3.11 and nothing else; Debian's packages are installed by ``up``
where it may. Everything it writes lies in one state directory, and it ends
only processes that it started there. README.md beside this file tells more.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster import Testbed, serves
from daemons import Settings, slurmd_of
from machine import DONE_FAILED, DONE_OK, DONE_WRONG_INPUT, TestbedError, say


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
