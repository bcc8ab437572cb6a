"""Which runs cannot be made, told before any of them is tried."""

from collections.abc import Sequence

from weather_hpc.launch import machine
from weather_hpc.slurm import cluster
from weather_hpc.slurm.client import Slurm, unavailable
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec


def impossible(executor: str, specs: Sequence[RunSpec], site: SiteProfile) -> dict[str, str]:
    """Why runs of ``specs`` cannot be made by ``executor`` (its name), by run_id.

    Where Slurm does not answer nothing is known of its nodes, and the answer is empty.
    """
    reasons: dict[str, str | None] = {}
    if executor == "local":
        here = machine.this_machine(specs, site.python)
        reasons = {s.run_id: machine.skip_reason(s, here, site.oversubscribe) for s in specs}
    elif unavailable() is None:
        there = cluster.ask(Slurm())
        reasons = {s.run_id: cluster.skip_reason(s, there, site) for s in specs}
    return {run_id: reason for run_id, reason in reasons.items() if reason is not None}
