"""The main verb: plan a study, run what is missing, collect what came back.

python -m weather_hpc.sweep                          the small default study
python -m weather_hpc.sweep --partition gpu --wait   as jobs on a Slurm cluster
python -m weather_hpc.sweep --study paper --dry-run  every job script, nothing run
python -m weather_hpc.sweep status                   where each run stands

Run again = resume: what is done is never done twice.
"""

import argparse
import fnmatch
import sys
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli

if TYPE_CHECKING:
    from weather_hpc.launch.job_states import JobState
    from weather_hpc.launch.state import State
    from weather_hpc.paths import StudyPaths
    from weather_hpc.study.config import Synthetic
    from weather_hpc.study.plan import Plan
    from weather_hpc.study.site import SiteProfile
    from weather_hpc.study.spec import RunSpec

PREPARE_WORKERS = 8
"""At most so many CPUs pack the training store: past that the disk is the limit."""

EXECUTORS = ("auto", "slurm", "submitit", "local")

LOCK_S = 120.0
"""How long a sweep waits for another to submit: that takes seconds."""

ACTIONS = {
    "run": "plan, run what is missing, collect",
    "status": "tell where each run stands",
    "cancel": "cancel the folder's jobs, stop the sweep that runs in it",
    "clean": "remove stores, checkpoints and half-made runs; keep records, tables and report",
}


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(
        "sweep",
        description=__doc__,
        epilog="actions:\n" + "\n".join(f"  {k:<8} {v}" for k, v in ACTIONS.items()),
    )
    add = result.add_argument
    add("action", nargs="?", choices=ACTIONS, default="run", help="(default: run)")
    add("--study", default="quick", metavar="FILE", help="study YAML, or the name of a shipped "
        "one (default: quick)")  # fmt: skip
    add("--site", metavar="FILE", help="site YAML, or the name of a shipped one "
        "(default: this machine)")  # fmt: skip
    add("--executor", choices=EXECUTORS, default="auto", help="what runs the jobs; auto: Slurm "
        "where sbatch answers, else this machine (default: auto)")  # fmt: skip
    add("--partition", metavar="NAME", help="Slurm partition of every run (default: the site's)")
    add("--cpu-partition", metavar="NAME", help="Slurm partition of runs without GPUs")
    add("--wait", action="store_true", help="stay until all jobs have ended, then collect")
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
    from weather_hpc.launch import executors
    from weather_hpc.launch.lock import lock
    from weather_hpc.study.config import load_study
    from weather_hpc.study.plan import make_plan
    from weather_hpc.study.plan_file import save_plan
    from weather_hpc.study.site import load_site

    study, paths = load_study(args.study), _paths(args)
    site = load_site(args.site).on(args.partition, args.cpu_partition)
    name = executors.choose(args.executor, args.partition, needed=not args.dry_run)
    data = _data_folder(args.data, paths, study.synthetic)
    workers = executors.prepare_workers(name, site, PREPARE_WORKERS)
    plan = make_plan(study, str(data), workers)
    if args.dry_run:
        return _dry_run(args, plan, paths, site, name)
    _chosen(args, plan)  # a wrong --only is told before anything is written
    executor = executors.EXECUTORS[name](plan, paths, site)
    background = isinstance(executor, executors.Background)
    with lock(paths, wait_s=LOCK_S if background else 0.0):
        save_plan(paths, plan)
        if args.data is None:
            _make_images(data, study.synthetic)
        in_hand = executor.active()
        todo = _todo(args, plan, paths, in_hand)
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


def _finish(args: argparse.Namespace, paths: "StudyPaths", ended: "dict[str, State]") -> int:
    """Collect what has ended."""
    from weather_hpc.collect import collect_study, tell
    from weather_hpc.launch.state import State

    summary = collect_study(paths.root)
    print(tell(summary), file=sys.stderr)
    counts = Counter(str(state) for state in ended.values())
    if args.json:
        cli.print_json({"results": str(paths.root), "ran": dict(counts), **summary})
    return cli.EXIT_FAILED if counts[State.FAILED] else cli.EXIT_OK


def _leave(
    args: argparse.Namespace, paths: "StudyPaths", jobs: list[int], stand: "dict[str, State]"
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


def _data_folder(data: Path | None, paths: "StudyPaths", synthetic: "Synthetic") -> Path:
    from weather_hpc.errors import UserError

    if data is None:
        return paths.data / f"synthetic-{synthetic.images_per_class}-seed{synthetic.seed}"
    if not data.is_dir():
        raise UserError(f"--data {data}: no such folder; one with a folder per class is wanted")
    return data.resolve()


def _chosen(args: argparse.Namespace, plan: "Plan") -> "list[RunSpec]":
    """The runs that ``--only`` names. Raises UserError where it names none."""
    from weather_hpc.errors import UserError

    chosen = [s for s in plan.runs if fnmatch.fnmatch(s.run_id, args.only or "*")]
    if not chosen:
        example = plan.runs[0].run_id
        raise UserError(f"--only {args.only}: matches no run; a run_id is such as {example}")
    return chosen


def _todo(
    args: argparse.Namespace, plan: "Plan", paths: "StudyPaths", in_hand: Container[str] = ()
) -> "list[RunSpec]":
    """What is still to be run, but for runs ``in_hand``, which wait or run already.

    A skipped run is looked at anew: the machine may have changed.

    The run that packs the store comes along whenever a chosen training run needs it.
    """
    from weather_hpc.launch.state import State, states
    from weather_hpc.study.spec import Stage

    state = states(paths, plan.all)
    chosen = _chosen(args, plan)
    if args.only_failed:
        chosen = [s for s in chosen if state[s.run_id] is State.FAILED]
    chosen = [s for s in chosen if state[s.run_id] is not State.DONE and s.run_id not in in_hand]
    store = plan.prepare
    wanted = any(s.stage is Stage.TRAIN for s in chosen)
    if store and wanted and store.run_id not in in_hand:
        packed = paths.store(plan.store_name).exists()
        if state[store.run_id] is not State.DONE or not packed:
            chosen.insert(0, store)
    return chosen


def _dry_run(
    args: argparse.Namespace, plan: "Plan", paths: "StudyPaths", site: "SiteProfile", name: str
) -> int:
    from weather_hpc.launch import dry_run

    todo = _todo(args, plan, paths)
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


def _make_images(folder: Path, synthetic: "Synthetic") -> None:
    from weather_hpc.dataset.synthetic import make_synthetic

    make_synthetic(folder, synthetic.images_per_class, synthetic.seed)


def _status(args: argparse.Namespace, paths: "StudyPaths") -> int:
    from weather_hpc.launch.accounting import refresh_accounting
    from weather_hpc.launch.lock import holder
    from weather_hpc.launch.watch import standings
    from weather_hpc.study.plan_file import load_plan

    plan = load_plan(paths)
    jobs = refresh_accounting(paths)
    state = standings(paths, plan.all, jobs)
    for spec in plan.all:
        print(f"{state[spec.run_id]:<8} {spec.run_id}{_job_note(jobs.get(spec.run_id))}")
    counts = Counter(str(value) for value in state.values())
    who = holder(paths)
    running = f"; a sweep is running as pid {who['pid']} on {who['host']}" if who else ""
    print(", ".join(f"{n} {name}" for name, n in sorted(counts.items())) + running)
    if args.json:
        found = {run_id: job.job_id for run_id, job in jobs.items()}
        cli.print_json({"results": str(paths.root), "states": state, "jobs": found, "running": who})
    return cli.EXIT_OK


def _job_note(job: "JobState | None") -> str:
    """``  (job 12_3 PENDING: Priority)``, for a run that has a job."""
    if job is None:
        return ""
    why = job.reason or (f"on {job.node_list}" if job.node_list else "")
    return f"  (job {job.job_id} {job.state}{': ' if why else ''}{why})"


if __name__ == "__main__":
    cli.run("sweep", main)
