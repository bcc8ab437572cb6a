"""Finding run folders under the paths that a user names."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths, StudyPaths


@dataclass(frozen=True)
class Found:
    """Run folders, and what was met on the way to them."""

    runs: tuple[Path, ...]
    plans: tuple[StudyPaths, ...]
    """Study folders with a plan."""
    checks: tuple[Path, ...]
    """Files in which the check verb left its results."""


def find_runs(paths: Iterable[Path]) -> Found:
    """Every run folder under ``paths``, each once and in the order of their names.

    A path is a study folder, one that holds several, or a run folder. In a study folder every
    folder of ``runs/`` is a run, whatever it holds; elsewhere one is known by its spec.json or
    record.json. Raises UserError for a path that does not exist or holds neither run nor plan.
    """
    runs: dict[Path, None] = {}
    plans: dict[Path, StudyPaths] = {}
    checks: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; a study's results folder is wanted")
        before = len(runs) + len(plans)
        root = path.resolve()
        for folder in _walk(root):
            study = StudyPaths(folder)
            if study.plan.exists():
                plans.setdefault(folder, study)
            elif _is_run(folder):
                runs.setdefault(folder)
                continue
            checks |= dict.fromkeys(_checks(study))
        if len(runs) + len(plans) == before and not any(_under(p, root) for p in [*runs, *plans]):
            raise UserError(
                f"{path}: holds no runs; wanted is a results folder with runs/*/record.json"
            )
    return Found(tuple(runs), tuple(plans.values()), tuple(checks))


def holds_runs(folder: Path) -> bool:
    """Whether :func:`find_runs` would find anything under ``folder``."""
    root = folder.resolve()
    return any(StudyPaths(found).plan.exists() or _is_run(found) for found in _walk(root))


def _checks(study: StudyPaths) -> Iterator[Path]:
    for folder in sorted(study.checks.glob("*")):
        results = study.check(folder.name).results
        if results.exists():
            yield results


def _under(path: Path, root: Path) -> bool:
    return path == root or root in path.parents


def _is_run(folder: Path) -> bool:
    run = RunPaths(folder)
    return folder.parent.name == "runs" or os.path.lexists(run.spec) or os.path.lexists(run.record)


def _walk(root: Path) -> Iterator[Path]:
    """The folders under ``root``, not looking inside runs, nor beside a study's ``runs/``."""
    for name, folders, _ in os.walk(root):
        folder = Path(name)
        yield folder
        if _is_run(folder):
            folders.clear()
        elif "runs" in folders:
            folders[:] = ["runs"]
        else:
            folders.sort()
