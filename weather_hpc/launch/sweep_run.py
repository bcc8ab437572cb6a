"""What ``sweep`` does when it runs a study: plan, run what is missing, collect; or only show it."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.launch import dry_run, executors
from weather_hpc.launch.lock import lock
from weather_hpc.launch.state import State
from weather_hpc.launch.todo import chosen_runs, runs_to_make
from weather_hpc.paths import StudyPaths
from weather_hpc.study.config import Synthetic, load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.plan_file import save_plan
from weather_hpc.study.site import SiteProfile, load_site

PREPARE_WORKERS = 8
"""At most so many CPUs pack the training store: past that the disk is the limit."""

LOCK_S = 120.0
"""How long a sweep waits for another to submit: that takes seconds."""


def run_study(args: argparse.Namespace, paths: StudyPaths) -> int:
    """Carry out what the verb's ``args`` ask for, in the results folder ``paths``; exit code."""
    study = load_study(args.study)
    site = load_site(args.site).on(args.partition, args.cpu_partition)
    name = executors.choose(args.executor, args.partition, needed=not args.dry_run)
    data = _data_folder(args.data, paths, study.synthetic)
    workers = executors.prepare_workers(name, site, PREPARE_WORKERS)
    plan = make_plan(study, str(data), workers)
    if args.dry_run:
        return _show(args, plan, paths, site, name)
    chosen_runs(plan, args.only)  # a wrong --only is told before anything is written
    executor = executors.EXECUTORS[name](plan, paths, site)
    background = isinstance(executor, executors.Background)
    with lock(paths, wait_s=LOCK_S if background else 0.0):
        save_plan(paths, plan)
        if args.data is None:
            _make_images(data, study.synthetic)
        in_hand = executor.active()
        todo = runs_to_make(plan, paths, args.only, args.only_failed, in_hand)
        print(
            f"study {study.name}: {len(todo)} of {len(plan.all)} runs to make (executor {name}), "
            f"{len(in_hand)} are in hand, results in {paths.root}",
            file=sys.stderr,
        )
        ended = executor.run(todo)
        if not isinstance(executor, executors.Background):
            return _finish(args, paths, ended)
        if not args.wait:
            return _leave(args, paths, executor.leave(), ended)
    mine = {spec.run_id for spec in todo} | in_hand.keys()
    return _finish(args, paths, executor.wait([s for s in plan.all if s.run_id in mine]))


def _finish(args: argparse.Namespace, paths: StudyPaths, ended: dict[str, State]) -> int:
    """Collect what has ended."""
    from weather_hpc.collect import collect_study, tell

    summary = collect_study(paths.root)
    print(tell(summary), file=sys.stderr)
    counts = Counter(str(state) for state in ended.values())
    if args.json:
        cli.print_json({"results": str(paths.root), "ran": dict(counts), **summary})
    return cli.EXIT_FAILED if counts[State.FAILED] else cli.EXIT_OK


def _leave(
    args: argparse.Namespace, paths: StudyPaths, jobs: list[int], stand: dict[str, State]
) -> int:
    """Tell how to come back to jobs that go on without us."""
    counts = Counter(str(state) for state in stand.values())
    if jobs:
        print(f"jobs {', '.join(map(str, jobs))}; the last one collects", file=sys.stderr)
        print(
            f"see them: python -m weather_hpc.sweep status --results {paths.root}", file=sys.stderr
        )
    else:
        print("nothing is in the queue and nothing was submitted", file=sys.stderr)
        return _finish(args, paths, stand)
    if args.json:
        cli.print_json({"results": str(paths.root), "jobs": jobs, "states": dict(counts)})
    return cli.EXIT_OK


def _show(
    args: argparse.Namespace, plan: Plan, paths: StudyPaths, site: SiteProfile, name: str
) -> int:
    """Print every script that would be run; run nothing."""
    todo = runs_to_make(plan, paths, args.only, args.only_failed)
    rows = []
    for script in dry_run.SCRIPTS[name](plan, todo, paths, site):
        reason = f"  (skipped: {script.skipped})" if script.skipped else ""
        print(f"##### {script.path}{reason}")
        print(script.text)
        if script.run_id:
            rows.append({"run_id": script.run_id, "skipped": script.skipped})
    print(f"{len(todo)} of {len(plan.all)} runs would be made; nothing was run", file=sys.stderr)
    if args.json:
        cli.print_json({"results": str(paths.root), "runs": rows})
    return cli.EXIT_OK


def _data_folder(data: Path | None, paths: StudyPaths, synthetic: Synthetic) -> Path:
    if data is None:
        return paths.data / f"synthetic-{synthetic.images_per_class}-seed{synthetic.seed}"
    if not data.is_dir():
        raise UserError(f"--data {data}: no such folder; one with a folder per class is wanted")
    return data.resolve()


def _make_images(folder: Path, synthetic: Synthetic) -> None:
    from weather_hpc.dataset.synthetic import make_synthetic

    make_synthetic(folder, synthetic.images_per_class, synthetic.seed)
