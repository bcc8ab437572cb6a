"""``status --follow``: the study's progress as it changes, until its runs have ended.

On a terminal a picture that is drawn anew, elsewhere a line for every change.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Protocol, TextIO

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.plan_file import load_plan
from weather_hpc.runs.state import RunState
from weather_hpc.slurm.accounting import kept_jobs, poll
from weather_hpc.slurm.client import Slurm, SlurmError
from weather_hpc.slurm.jobs import Job
from weather_hpc.slurm.pending import News
from weather_hpc.sweep.live import LiveReport
from weather_hpc.sweep.progress import StudyProgress, Watcher
from weather_hpc.text import counted, one_line

LOOK_EVERY_S = 2.0
"""Seconds between two looks at the folder, if they are quick."""

SHARE = 0.05
"""The most of the time that is spent looking: file systems are shared."""

ASK_EVERY_S = 30.0
"""Seconds between two questions to Slurm."""

SETTLE_S, SETTLE_JOBS_S = 5.0, 40.0
"""How long nothing may make runs before they are given up, s; longer for jobs, since a sweep that
waits for them submits the next stage."""

MOST_ALIKE = 3
"""Runs whose equal change has a line for each; more are counted."""


class Show(Protocol):
    """Where a user sees the study's progress."""

    def now(self, progress: StudyProgress, news: list[str]) -> None:
        """The progress now; ``news``: what is to be said of jobs that wait."""

    def say(self, line: str) -> None:
        """Anything else."""

    def __enter__(self) -> "Show": ...

    def __exit__(self, *exception: Any) -> None: ...


class Jobs:
    """The jobs of a folder's runs, from Slurm; it is asked rarely, and never made to wait for."""

    def __init__(self, paths: StudyPaths, say: Callable[[str], None]) -> None:
        self.paths = paths
        self._slurm = Slurm(patience_s=0.0, notify=lambda _: None)
        self._say = say
        self._jobs: Mapping[str, Job] = {}
        self._asked_at = -ASK_EVERY_S
        self._answers = True

    def now(self, at_once: bool = False) -> Mapping[str, Job]:
        """By run_id, as they were at the last question, which ``at_once`` repeats."""
        if not self.paths.submissions.exists():
            return {}
        due = time.monotonic() - self._asked_at >= ASK_EVERY_S
        if due or at_once:
            self._jobs = self._ask()
            self._asked_at = time.monotonic()
        return self._jobs

    def _ask(self) -> Mapping[str, Job]:
        try:
            jobs = poll(self.paths, self._slurm, keep=False)
        except (FailedError, SlurmError, UserError) as error:
            if self._answers:
                away = isinstance(error, FailedError)  # it asks only once
                why = "Slurm does not answer" if away else one_line(error)
                self._say(f"{why}: jobs are shown as they were when it was asked last")
            self._answers = False
            with suppress(UserError):
                return self._jobs or kept_jobs(self.paths)
            return self._jobs
        self._answers = True
        return jobs


def follow(paths: StudyPaths, as_json: bool, live: bool = False) -> int:
    """Show the progress of the study until its runs have ended; the exit code.

    0 where all are made or skipped, 1 where some failed, or nothing makes those that are missing;
    130 on Ctrl-C, which ends nothing else. With ``as_json`` stdout has one JSON object at the end,
    and stderr the rest. ``live``: write the report as jobs end, and when all have.

    Raises UserError where the folder has no study, or a live report would be written beside runs
    that are measured on this machine.
    """
    plan = load_plan(paths)
    if live and not paths.submissions.exists():
        raise UserError(
            "--live: collecting would take CPU from runs that are measured on this machine; "
            "start the sweep itself with --live"
        )
    stream = sys.stderr if as_json else sys.stdout
    shown = Picture if stream.isatty() else Lines
    report = LiveReport(paths, plan, jobs=True) if live else nullcontext()
    try:
        with report as written, shown(stream) as show:
            progress = _until_ended(Watcher(paths, plan), show, written)
    except cli.Signalled:
        raise
    except KeyboardInterrupt:
        print("not followed any longer; the runs go on", file=sys.stderr)
        return 128 + signal.SIGINT
    if live:
        from weather_hpc.collect.pipeline import collect_study

        print(f"report: {collect_study(paths.root)['report']}", file=sys.stderr)
    if as_json:
        of_runs = {"results": str(paths.root), "states": progress.states}
        cli.print_json(of_runs | progress.as_dict())
    return progress.exit_code


def _until_ended(watcher: Watcher, show: Show, live: LiveReport | None) -> StudyProgress:
    jobs, news = Jobs(watcher.paths, show.say), News()
    active_at = time.monotonic()
    ended: int | None = None
    while True:
        start = time.monotonic()
        progress = watcher.look(jobs.now())
        if ended is not None and progress.open < ended:
            # a run that has just ended makes room for others
            progress = watcher.look(jobs.now(at_once=True))
        ended = progress.open
        show.now(progress, news.lines(progress.waits, start))
        if live is not None and progress.sweep is None:
            live.update(progress)
        if progress.active:
            active_at = start
        settle_s = SETTLE_JOBS_S if watcher.paths.submissions.exists() else SETTLE_S
        if not progress.active and (not progress.open or start - active_at >= settle_s):
            return progress
        if news.stuck(jobs.now().values(), start) and not progress.running:
            show.say("not followed any longer: no job that is left can start")
            return progress
        took = time.monotonic() - start
        time.sleep(max(LOOK_EVERY_S, took / SHARE))


class Lines:
    """A line for every change."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._before: StudyProgress | None = None

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def now(self, progress: StudyProgress, news: list[str]) -> None:
        """Print the whole at first, then what has changed."""
        for line in progress.lines if self._before is None else self._changes(progress):
            self.say(line)
        for line in news:
            self.say(line)
        self._before = progress

    def _changes(self, progress: StudyProgress) -> Iterator[str]:
        before = {} if self._before is None else self._before.states
        told = {} if self._before is None else {r.spec.run_id: r for r in self._before.running}
        reasons = dict(progress.failures)
        changed: dict[str, list[str]] = {}
        for run_id, state in progress.states.items():
            if before[run_id] is not state and state is not RunState.RUNNING:
                why = reasons.get(run_id)
                changed.setdefault(f"{state}{f': {why}' if why else ''}", []).append(run_id)
        for what, run_ids in changed.items():
            if len(run_ids) <= MOST_ALIKE:
                yield from (f"{run_id}: {what}" for run_id in run_ids)
            else:
                yield f"{counted(len(run_ids), 'run')}: {what}"
        if changed:
            yield f"{progress.count_line}; {progress.left_line}; {progress.cost_line}"
        for run in progress.running:
            last = told.get(run.spec.run_id)
            if last is None or str(last.progress) != str(run.progress):
                yield str(run)

    def say(self, line: str) -> None:
        """Print ``line``."""
        print(line, file=self._stream, flush=True)


class Picture:
    """The whole progress, drawn anew at every look; it stays at the end."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=stream), auto_refresh=False)

    def __enter__(self) -> "Picture":
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def now(self, progress: StudyProgress, news: list[str]) -> None:
        """Draw it."""
        from rich.text import Text

        styles = {"running": "cyan", "waiting": "yellow", "failed": "red"}
        first, *lines = progress.lines
        text = Text(first, style="bold")
        for line in lines:
            text.append(f"\n{line}", style=styles.get(line.split()[0], "not bold"))
        if progress.active:
            text.append("\nCtrl-C ends this display; the runs go on", style="dim not bold")
        self._live.update(text, refresh=True)

    def say(self, line: str) -> None:
        """Print ``line`` above the picture."""
        self._live.console.print(line, markup=False, highlight=False)
