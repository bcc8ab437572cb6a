"""The main verb: plan a study, run what is missing, collect what came back.

python -m weather_hpc.sweep                          the small default study
python -m weather_hpc.sweep --partition gpu --wait   as jobs on a Slurm cluster
python -m weather_hpc.sweep --study paper --dry-run  every job script, nothing run
python -m weather_hpc.sweep status                   where each run stands
python -m weather_hpc.sweep check                    are the machines right, and how fast

Run again = resume: what is done is never done twice.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli

if TYPE_CHECKING:
    from weather_hpc.runs.paths import StudyPaths
    from weather_hpc.slurm.jobs import Job

DEFAULT_FLOOR = 0.5
"""Efficiency under which ``--staged`` stops a branch."""

EXECUTORS = ("auto", "slurm", "submitit", "local")

ACTIONS = {
    "run": "plan, run what is missing, collect",
    "status": "tell where each run stands",
    "check": "tell whether the machines of the study compute rightly, and how fast",
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
    add("--max-node-hours", type=_node_hours, metavar="H", help="submit nothing if this folder's "
        "runs, past ones and those in hand included, are forecast to take more")  # fmt: skip
    add("--staged", action="store_true", help="small configurations first, all repeats of each; "
        "a branch (runs that differ in workers or ranks only) whose efficiency over its own "
        "smallest is under the floor goes no further: its larger runs are recorded as skipped; "
        "implies --wait")  # fmt: skip
    add("--efficiency-floor", type=_efficiency, metavar="E", help="floor of --staged, above 0 up "
        f"to 1 (default: {DEFAULT_FLOOR:g})")  # fmt: skip
    add("--dry-run", action="store_true", help="print the plan and every script, run nothing")
    add("--yes", action="store_true", help="do not ask before removing")
    result.add_json()
    return result


def _node_hours(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of node-hours, from 0 up")
    return value


def _efficiency(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no efficiency above 0 up to 1, such as 0.5")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code 0: all done or skipped; 1: something failed; 2: wrong input."""
    command_line = parser()
    args = command_line.parse_args(argv)
    if args.efficiency_floor is not None and not args.staged:
        command_line.error("--efficiency-floor goes with --staged")
    args.efficiency_floor = args.efficiency_floor or DEFAULT_FLOOR
    from weather_hpc.sweep import check, results_folder, run

    paths = _paths(args)
    if args.action == "run":
        return run.run_study(args, paths)
    if args.action == "check":
        return check.run_check(args, paths)
    if args.action == "status":
        return _status(args, paths)
    if args.action == "cancel":
        said = results_folder.cancel(paths)
    else:
        said = results_folder.clean(paths, ask=not args.yes)
    print(said, file=sys.stderr)
    if args.json:
        cli.print_json({"results": str(paths.root), "message": said})
    return cli.EXIT_OK


def _paths(args: argparse.Namespace) -> "StudyPaths":
    from weather_hpc.runs.paths import StudyPaths
    from weather_hpc.study.config import load_study

    root = args.results or Path("results") / load_study(args.study).name
    return StudyPaths(root.absolute())


def _status(args: argparse.Namespace, paths: "StudyPaths") -> int:
    from weather_hpc.launch.run_folder import holder
    from weather_hpc.launch.watch import job_and_run_states
    from weather_hpc.runs.plan_file import load_plan
    from weather_hpc.slurm.accounting import refresh_accounting

    plan = load_plan(paths)
    jobs = refresh_accounting(paths)
    state = job_and_run_states(paths, plan.all, jobs)
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


def _job_note(job: "Job | None") -> str:
    """``  (job 12_3 PENDING: Priority)``, for a run that has a job."""
    if job is None:
        return ""
    why = job.reason or (f"on {job.node_list}" if job.node_list else "")
    return f"  (job {job.job_id} {job.state}{': ' if why else ''}{why})"


if __name__ == "__main__":
    cli.run("sweep", main)
