"""Reading: one run as it was read, from a run folder or a foreign log."""

from collections.abc import Hashable
from dataclasses import dataclass

from weather_hpc.runs.finding import Finding
from weather_hpc.runs.row import Row


@dataclass(frozen=True)
class Reading:
    """One run, small enough that any number of them stays in memory."""

    row: Row
    findings: tuple[Finding, ...] = ()
    """What looks wrong in this run alone."""
    key: Hashable | None = None
    """Configuration and repeat of a planned run; None: known by its run_id alone."""
    content: Hashable | None = None
    """What two different runs cannot share; None: too little is known of the run to tell."""
    epochs: frozenset[int] = frozenset()
    """Marks of some epochs' figures, the same ones for runs with the same epochs; empty: too
    little is known of them."""
