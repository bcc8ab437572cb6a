#!/usr/bin/env python3
"""A real Slurm on one machine: up, down, status, and faults on demand.

Needs Python 3.11 only; ``up`` installs Debian's packages where that is allowed.
It writes into one state directory only, and ends only processes that it started.
See README.md in this folder.
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
    """Return a report as lines for a terminal."""
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
    """Return the state directory: ``given``, the environment's, or the default."""
    if chosen := given or os.environ.get("WEATHER_HPC_TESTBED"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "weather_hpc" / "testbed"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        metavar="DIR",
        help="folder for all files (default: $WEATHER_HPC_TESTBED,"
        " else ${XDG_STATE_HOME:-~/.local/state}/weather_hpc/testbed)",
    )
    common.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    whole = argparse.ArgumentParser(
        prog="testbed", description="A real Slurm on one machine, for trials and tests."
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
        help="with slurmdbd and MariaDB, for sacct (the default), or without",
    )
    up.add_argument(
        "--timeout", type=float, default=60, metavar="S", help="give up after S seconds (60)"
    )
    down = verb("down", "Cancel all jobs and end every daemon.")
    down.add_argument("--purge", action="store_true", help="remove the state directory too")
    verb("status", "Print the state of daemons and nodes: exit 0 if up, 1 if not.")
    for name, text in {
        "kill-node": "Kill a node with everything that runs on it.",
        "start-node": "Start a killed node.",
    }.items():
        verb(name, text).add_argument("node", metavar="NAME")
    controller = verb("restart-controller", "Stop and start slurmctld; the queue is kept.")
    controller.add_argument("--hard", action="store_true", help="by kill -9")
    verb("stop-accounting", "Kill slurmdbd: sacct stops answering.")
    verb("start-accounting", "Start slurmdbd again.")
    return whole


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line of `up` gives, checked."""
    names = ("nodes", "cpus", "gpus", "accounting", "max_array_size")
    given = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    for name, (low, high) in {
        "nodes": (1, 64),
        "cpus": (1, 1024),
        "gpus": (0, 64),
        "max_array_size": (2, 100000),
    }.items():
        if not low <= given.get(name, low) <= high:
            raise TestbedError(
                f"--{name.replace('_', '-')} {given[name]}: must be from {low} to {high}",
                DONE_WRONG_INPUT,
            )
    return given


def change(testbed: Testbed, options: argparse.Namespace) -> str:
    """Run a fault verb on a testbed that is up; return a one-line message."""
    verb = options.verb
    settings = testbed.settings
    if not testbed.settings_file.exists() or not testbed.processes_of("munged"):
        raise TestbedError(f"{verb}: no testbed is up in {testbed.state}; run `up` first")
    deadline = time.monotonic() + 30
    if verb in ("kill-node", "start-node"):
        if options.node not in settings.node_names():
            names = ", ".join(settings.node_names())
            raise TestbedError(f"{verb} {options.node}: the nodes are {names}", DONE_WRONG_INPUT)
        daemon = slurmd_of(options.node)
        if verb == "kill-node":
            testbed.stop(daemon, hard=True)
            testbed.end_orphans(options.node)
            return f"{options.node} is dead; the controller notices within about 30 s"

        def node_serves() -> bool:
            return serves(testbed.node_states().get(options.node, ""))

        testbed.start_missing([daemon], deadline)
        testbed.wait(node_serves, "the node is ready", daemon, deadline)
        return f"{options.node} is ready again"
    if verb == "restart-controller":
        testbed.stop("slurmctld", hard=options.hard)
        testbed.start_missing(["slurmctld"], deadline)
        return "the controller was restarted"
    if not settings.accounting:
        raise TestbedError(f"{verb}: this testbed has no accounting", DONE_WRONG_INPUT)
    if verb == "stop-accounting":
        testbed.stop("slurmdbd", hard=True)
        return "accounting was stopped"
    testbed.start_missing(["mariadbd", "slurmdbd"], deadline)
    return "accounting was started"


def run_verb(options: argparse.Namespace) -> int:
    """Run one verb; return the exit status."""
    testbed = Testbed(state_directory(options.state))
    given = given_settings(options) if options.verb == "up" else {}
    status = DONE_OK
    lines: list[str]
    if options.verb == "status":
        lines = table(testbed.report())
        status = DONE_OK if lines[0].startswith("up") else DONE_FAILED
    elif options.verb == "down" and not testbed.state.exists():
        lines = [f"was not up; there is no {testbed.state}"]
    else:
        with testbed.locked(create=options.verb == "up"):
            if options.verb == "up":
                lines = [testbed.up(given, options.timeout)]
                lines.append(f"export SLURM_CONF={testbed.conf}")
            elif options.verb == "down":
                lines = [testbed.down(options.purge)]
            else:
                lines = [change(testbed, options)]
    for line in lines:
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
        print("testbed: interrupted; all started processes were ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
