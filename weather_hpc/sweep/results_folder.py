"""Looking after a results folder: ending a sweep, removing what can be made again."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from weather_hpc.errors import FailedError, UserError
from weather_hpc.launch.run_folder import holder, lock
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.slurm.client import Slurm, SlurmError
from weather_hpc.slurm.ledger import open_jobs, settle


def cancel(paths: StudyPaths) -> str:
    """End what goes on in this folder: its jobs in the queue, the sweep that runs here."""
    said = [text for text in (_cancel_jobs(paths), _interrupt(paths)) if text]
    if not said:
        return f"{paths.root}: no sweep is running here, and none of its jobs is in a queue"
    return f"{' and '.join(said)}; run the same sweep again to go on"


def _cancel_jobs(paths: StudyPaths) -> str | None:
    if not paths.submissions.exists():
        return None
    slurm = Slurm()
    settle(paths, slurm)
    jobs = open_jobs(paths, slurm)
    if not jobs:
        return None
    try:
        slurm("scancel", *map(str, jobs))
    except SlurmError as error:
        raise FailedError(str(error)) from None
    return f"cancelled {len(jobs)} jobs ({', '.join(map(str, jobs))})"


def _interrupt(paths: StudyPaths) -> str | None:
    """Interrupt the sweep that runs in this folder, as Ctrl-C would."""
    who = holder(paths)
    if who is None:
        return None
    if who["host"] != socket.gethostname():
        raise FailedError(f"the sweep runs on {who['host']} as pid {who['pid']}; cancel it there")
    os.kill(int(who["pid"]), signal.SIGINT)
    return f"asked pid {who['pid']} to stop"


def removable(paths: StudyPaths) -> list[Path]:
    """Stores, and the checkpoints and stores of runs: what a sweep can make again."""
    found = [paths.stores] if paths.stores.exists() else []
    if paths.runs.is_dir():
        for folder in sorted(paths.runs.iterdir()):
            run = RunPaths(folder)
            found += [path for path in (run.checkpoint, run.store) if path.exists()]
            found += sorted(folder.glob(f"{run.store.name}.*"))
    return found


def clean(paths: StudyPaths, ask: bool) -> str:
    """Remove what :func:`removable` lists; say how much was freed.

    Records, events, logs, tables and the report stay. With ``ask``, the user at the terminal
    is asked first; with no terminal to ask at, :class:`UserError` is raised.
    """
    with lock(paths):
        if paths.submissions.exists() and (jobs := open_jobs(paths, Slurm())):
            raise FailedError(
                f"{len(jobs)} jobs of this folder are in the queue; cancel them first"
            )
        found = removable(paths)
        size = sum(_size(path) for path in found)
        what = f"{len(found)} stores and checkpoints, {size / 1e6:.1f} MB, under {paths.root}"
        if found and ask:
            if not sys.stdin.isatty():
                raise UserError(f"clean would remove {what}; give --yes to do it")
            if input(f"remove {what}? [y/N] ").strip().lower() not in ("y", "yes"):
                return "nothing removed"
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return f"removed {what}"


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
