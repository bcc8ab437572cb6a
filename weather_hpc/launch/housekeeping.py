"""Looking after a results folder: ending a sweep, removing what can be made again."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from weather_hpc.errors import FailedError, UserError
from weather_hpc.launch.lock import holder, lock
from weather_hpc.paths import RunPaths, StudyPaths


def cancel(paths: StudyPaths) -> str:
    """Interrupt the sweep that runs in this folder, as Ctrl-C would; say what was done."""
    who = holder(paths)
    if who is None:
        return f"{paths.root}: no sweep is running here"
    if who["host"] != socket.gethostname():
        raise FailedError(f"the sweep runs on {who['host']} as pid {who['pid']}; cancel it there")
    os.kill(int(who["pid"]), signal.SIGINT)
    return f"asked pid {who['pid']} to stop; run the same sweep again to go on"


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
