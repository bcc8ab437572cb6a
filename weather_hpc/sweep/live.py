"""``--live``: the report is written again as runs end, and its page loads itself again.

Collecting takes CPU, so that runs on this machine are collected between two of them only.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

from weather_hpc.cli import how_ended
from weather_hpc.errors import FailedError, UserError
from weather_hpc.report.live import Live, stop
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.progress import SECONDS_PER_MINUTE
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.sweep.progress import OPEN, StudyProgress, Watcher
from weather_hpc.text import one_line

LEAST_S = 30.0
"""Seconds between two reports."""

SHARE = 0.1
"""The most of the time that is spent on them."""

AT_LEAST_EVERY_S = 900.0
"""How often it is written while jobs wait, s: so that an old page is one of a killed sweep."""

MARGIN_S = 600.0
"""How much later than expected a page may be written again, s."""


class LiveReport:
    """Writes the report while runs are made; use as a context manager around all of it.

    Where an error or a signal leaves the block, the page says so and loads itself no more.
    """

    def __init__(self, paths: StudyPaths, plan: Plan, jobs: bool) -> None:
        """``jobs``: whether the runs are jobs, so that none is measured beside this process."""
        self.paths = paths
        self.plan = plan
        self.jobs = jobs
        self._watcher = Watcher(paths, plan)
        self._written: tuple[float, int] | None = None
        """When, by the monotonic clock, and how many runs were still to end."""
        self._pause_s = LEAST_S
        self._told: set[str] = set()

    def __enter__(self) -> "LiveReport":
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: Any) -> None:
        if error is not None:
            resume = "the jobs go on" if self.jobs else "sweep again to resume"
            self.stop(f"{how_ended(error)}; {resume}")

    def look(self, jobs: Mapping[str, Job]) -> None:
        """Write the report where it is due; to be called while nothing is measured here."""
        if self._is_due():
            self.update(self._watcher.look(jobs))

    def update(self, progress: StudyProgress) -> None:
        """The same with the progress at this moment."""
        if not self._is_due() or not self._says_more(progress):
            return
        start = time.monotonic()
        self._written = start, progress.open
        try:
            self._write(progress)
        except (UserError, FailedError, OSError) as error:
            # what is measured does not depend on it
            self._tell(f"live report: not written: {one_line(error)}")
        self._pause_s = max(LEAST_S, (time.monotonic() - start) / SHARE)

    def stop(self, why: str) -> None:
        """Let the page load itself no more."""
        try:
            stop(self.paths.report, why)
        except OSError as error:
            self._tell(f"live report: {one_line(error)}")

    def _is_due(self) -> bool:
        return self._written is None or time.monotonic() - self._written[0] >= self._pause_s

    def _says_more(self, progress: StudyProgress) -> bool:
        """Whether runs have ended since the last report; the last of them are not its matter."""
        if not progress.open:
            return False
        if self._written is None or progress.open != self._written[1]:
            return True
        return self.jobs and time.monotonic() - self._written[0] >= AT_LEAST_EVERY_S

    def _write(self, progress: StudyProgress) -> None:
        from weather_hpc.collect.pipeline import CollectOptions, collect

        now = time.time()
        text = f"{progress.count_line}; {progress.left_line}"
        live = Live(text, now, round(now + self._lasts_s(progress)))
        collect([self.paths.root], self.paths.root, CollectOptions(live=live))
        self._tell(f"live report: {self.paths.report}")

    def _lasts_s(self, progress: StudyProgress) -> float:
        """Seconds after which this report has been replaced unless the sweep was killed."""
        if self.jobs:
            return 2 * AT_LEAST_EVERY_S + MARGIN_S
        limits = [
            spec.resources.time_limit_min
            for spec in self.plan.all
            if progress.states[spec.run_id] in OPEN
        ]
        return max(limits) * SECONDS_PER_MINUTE + self._pause_s + MARGIN_S

    def _tell(self, line: str) -> None:
        """Say it once."""
        if line not in self._told:
            self._told.add(line)
            print(line, file=sys.stderr, flush=True)
