"""Faults of a Slurm cluster: daemons that die, nodes that fail, jobs that are cancelled."""

import random

from tests.integration.conftest import Slurm

NODES = ("node1", "node2")


def strike(slurm: Slurm, choice: random.Random) -> str | None:
    """Let something of the cluster fail, and come back; what it was. None: no job was there."""
    fault = choice.choice(("controller", "accounting", "node", "cancel", "requeue"))
    if fault == "controller":
        slurm.testbed("restart-controller", "--hard")
        return "slurmctld SIGKILL"
    if fault == "accounting":
        slurm.testbed("stop-accounting")
        slurm.testbed("start-accounting")
        return "slurmdbd stopped"
    if fault == "node":
        node = choice.choice(NODES)
        slurm.testbed("kill-node", node)
        slurm.testbed("start-node", node)
        return "node killed"
    jobs = slurm.run(
        ["squeue", "--noheader", "--array", "--states=R", "--format=%i"]
    ).stdout.split()
    if not jobs:
        return None
    job = choice.choice(jobs)
    if fault == "cancel":
        slurm.run(["scancel", job])
        return "scancel"
    slurm.run(["scontrol", "requeue", job])
    return "scontrol requeue"
