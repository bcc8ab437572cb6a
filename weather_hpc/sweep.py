"""The main verb: plan a study, run what is missing, collect what came back.

python -m weather_hpc.sweep                          the small default study, here and now
python -m weather_hpc.sweep --study paper --dry-run  every job script, nothing run
python -m weather_hpc.sweep status                   where each run stands

Run again = resume: what is done is never done twice.
"""

import argparse
import fnmatch
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli

if TYPE_CHECKING:
    from weather_hpc.paths import StudyPaths
    from weather_hpc.study.config import Synthetic
    from weather_hpc.study.plan import Plan
    from weather_hpc.study.site import SiteProfile
    from weather_hpc.study.spec import RunSpec

PREPARE_WORKERS = 8
"""At most so many CPUs pack the training store: past that the disk is the limit."""

ACTIONS = {
    "run": "plan, run what is missing, collect",
    "status": "tell where each run stands",
    "cancel": "stop the sweep that is running in the results folder",
    "clean": "remove stores, checkpoints and half-made runs; keep records, tables and report",
}


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(
        "sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="actions:\n" + "\n".join(f"  {k:<8} {v}" for k, v in ACTIONS.items()),
    )
    add = result.add_argument
    add("action", nargs="?", choices=ACTIONS, default="run", help="(default: run)")
    add("--study", default="quick", metavar="FILE", help="study YAML, or the name of a shipped "
        "one (default: quick)")  # fmt: skip
    add("--site", metavar="FILE", help="site YAML, or the name of a shipped one "
        "(default: this machine)")  # fmt: skip
    add("--executor", choices=["auto", "local"], default="auto", help="what runs the jobs "
        "(default: auto)")  # fmt: skip
    add("--data", type=Path, metavar="DIR", help="folder of class folders "
        "(default: synthetic images, made once)")  # fmt: skip
    add("--results", type=Path, metavar="DIR", help="where everything goes "
        "(default: results/<study>)")  # fmt: skip
    add("--only", metavar="GLOB", help="only runs whose run_id matches, such as 'train-ddp-*'")
    add("--only-failed", action="store_true", help="only runs that failed before")
    add("--dry-run", action="store_true", help="print the plan and every script, run nothing")
    add("--yes", action="store_true", help="do not ask before removing")
    result.add_json()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code 0: all done or skipped; 1: a run failed; 2: wrong input."""
    args = parser().parse_args(argv)
    from weather_hpc.launch import housekeeping

    if args.action == "run":
        return _run(args)
    paths = _paths(args)
    if args.action == "status":
        return _status(args, paths)
    if args.action == "cancel":
        said = housekeeping.cancel(paths)
    else:
        said = housekeeping.clean(paths, ask=not args.yes)
    print(said, file=sys.stderr)
    if args.json:
        cli.print_json({"results": str(paths.root), "message": said})
    return cli.EXIT_OK


def _paths(args: argparse.Namespace) -> "StudyPaths":
    from weather_hpc.paths import StudyPaths
    from weather_hpc.study.config import load_study

    root = args.results or Path("results") / load_study(args.study).name
    return StudyPaths(root.absolute())


def _run(args: argparse.Namespace) -> int:
    from weather_hpc.launch.local import LocalExecutor
    from weather_hpc.launch.lock import lock
    from weather_hpc.launch.state import State
    from weather_hpc.study.config import load_study
    from weather_hpc.study.plan import make_plan
    from weather_hpc.study.plan_file import save_plan
    from weather_hpc.study.site import load_site

    study, site, paths = load_study(args.study), load_site(args.site), _paths(args)
    data = _data_folder(args.data, paths, study.synthetic)
    plan = make_plan(study, str(data), min(len(os.sched_getaffinity(0)), PREPARE_WORKERS))
    if args.dry_run:
        return _dry_run(args, plan, paths, site)
    with lock(paths):
        save_plan(paths, plan)
        if args.data is None:
            _make_images(data, study.synthetic)
        todo = _todo(args, plan, paths)
        print(
            f"study {study.name}: {len(todo)} of {len(plan.all)} runs to make here "
            f"(executor local), results in {paths.root}",
            file=sys.stderr,
        )
        ended = LocalExecutor(plan, paths, site).run(todo)
        summary = _collect(paths)
    counts = Counter(str(state) for state in ended.values())
    if args.json:
        cli.print_json({"results": str(paths.root), "ran": dict(counts), **summary})
    return cli.EXIT_FAILED if counts[State.FAILED] else cli.EXIT_OK


def _data_folder(data: Path | None, paths: "StudyPaths", synthetic: "Synthetic") -> Path:
    from weather_hpc.errors import UserError

    if data is None:
        return paths.data / f"synthetic-{synthetic.images_per_class}-seed{synthetic.seed}"
    if not data.is_dir():
        raise UserError(f"--data {data}: no such folder; one with a folder per class is wanted")
    return data.resolve()


def _todo(args: argparse.Namespace, plan: "Plan", paths: "StudyPaths") -> "list[RunSpec]":
    """What is still to be run. A skipped run is looked at anew: the machine may have changed.

    The run that packs the store comes along whenever a chosen training run needs it.
    """
    from weather_hpc.errors import UserError
    from weather_hpc.launch.state import State, states
    from weather_hpc.study.spec import Stage

    state = states(paths, plan.all)
    chosen = [s for s in plan.runs if fnmatch.fnmatch(s.run_id, args.only or "*")]
    if not chosen:
        example = plan.runs[0].run_id
        raise UserError(f"--only {args.only}: matches no run; a run_id is such as {example}")
    if args.only_failed:
        chosen = [s for s in chosen if state[s.run_id] is State.FAILED]
    chosen = [s for s in chosen if state[s.run_id] is not State.DONE]
    store = plan.prepare
    if store and any(s.stage is Stage.TRAIN for s in chosen):
        packed = paths.store(plan.store_name).exists()
        if state[store.run_id] is not State.DONE or not packed:
            chosen.insert(0, store)
    return chosen


def _dry_run(
    args: argparse.Namespace, plan: "Plan", paths: "StudyPaths", site: "SiteProfile"
) -> int:
    from weather_hpc.launch.machine import skip_reason, this_machine
    from weather_hpc.launch.script import run_script

    todo = _todo(args, plan, paths)
    machine = this_machine(todo, site.python)
    rows = []
    for spec in todo:
        reason = skip_reason(spec, machine, site.oversubscribe)
        print(f"##### {paths.script(spec.run_id)}" + (f"  (skipped: {reason})" if reason else ""))
        print(run_script(plan, spec, paths, site))
        rows.append({"run_id": spec.run_id, "skipped": reason})
    print(f"{len(todo)} of {len(plan.all)} runs would be made; nothing was run", file=sys.stderr)
    if args.json:
        cli.print_json({"results": str(paths.root), "runs": rows})
    return cli.EXIT_OK


def _make_images(folder: Path, synthetic: "Synthetic") -> None:
    from weather_hpc.dataset.synthetic import make_synthetic

    make_synthetic(folder, synthetic.images_per_class, synthetic.seed)


def _collect(paths: "StudyPaths") -> dict[str, Any]:
    from weather_hpc.collect import collect_study

    return collect_study(paths.root)


def _status(args: argparse.Namespace, paths: "StudyPaths") -> int:
    from weather_hpc.launch.lock import holder
    from weather_hpc.launch.state import states
    from weather_hpc.study.plan_file import load_plan

    plan = load_plan(paths)
    state = states(paths, plan.all)
    for spec in plan.all:
        print(f"{state[spec.run_id]:<8} {spec.run_id}")
    counts = Counter(str(value) for value in state.values())
    who = holder(paths)
    running = f"; a sweep is running as pid {who['pid']} on {who['host']}" if who else ""
    print(", ".join(f"{n} {name}" for name, n in sorted(counts.items())) + running)
    if args.json:
        cli.print_json({"results": str(paths.root), "states": state, "running": who})
    return cli.EXIT_OK


if __name__ == "__main__":
    cli.run("sweep", main)
