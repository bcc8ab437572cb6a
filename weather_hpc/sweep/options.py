"""The options of one call of the sweep verb."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from weather_hpc import cli


@dataclass(frozen=True)
class SweepOptions:
    """The command line's options, under their names there; None: not given."""

    study: str
    site: str | None
    executor: str
    partition: str | None
    cpu_partition: str | None
    wait: bool
    live: bool
    data: Path | None
    new_images: Path | None
    results: Path | None
    only: str | None
    only_failed: bool
    max_node_hours: float | None
    damaged: str | None
    max_unreadable: str | None
    staged: bool
    efficiency_floor: float
    keep_going: bool
    dry_run: bool
    yes: bool
    json: bool

    @property
    def waits(self) -> bool:
        """Whether the call ends only once its jobs have."""
        return self.wait or self.staged or self.live

    @property
    def check_command(self) -> str:
        """The command that checks the machines on which this call runs the study."""
        values = {
            "--study": self.study,
            "--site": self.site,
            "--executor": None if self.executor == "auto" else self.executor,
            "--partition": self.partition,
            "--cpu-partition": self.cpu_partition,
            "--results": self.results,
        }
        flags = [str(part) for flag, value in values.items() if value for part in (flag, value)]
        return f"{cli.command('sweep')} {shlex.join(['check', *flags])}"
