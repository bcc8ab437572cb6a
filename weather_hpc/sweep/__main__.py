"""The main verb: plan a study, run what is missing, collect the results.

python -m weather_hpc.sweep                          the small default study
python -m weather_hpc.sweep --partition gpu --wait   as jobs on a Slurm cluster
python -m weather_hpc.sweep --study paper --dry-run  print every job script, run nothing
python -m weather_hpc.sweep status                   the state of each run
python -m weather_hpc.sweep check                    test the machines' results and speed

The same command again resumes: finished runs are not repeated.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.sweep.options import SweepOptions

if TYPE_CHECKING:
    from weather_hpc.runs.paths import StudyPaths

DEFAULT_FLOOR = 0.5
"""Efficiency below which ``--staged`` stops a series."""

EXECUTORS = ("auto", "slurm", "submitit", "local")

ACTIONS = {
    "run": "plan, run what is missing, collect",
    "status": "print the state of each run",
    "check": "test whether the study's machines compute correctly, and how fast",
    "cancel": "cancel the folder's jobs and stop the sweep that runs in it",
    "clean": "remove stores, checkpoints and unfinished files; keep records, tables and report",
}

_FOLDER = {"study", "results"}
"""Options that name the results folder."""

_OWN = {
    "status": _FOLDER | {"follow", "live"},
    "check": _FOLDER | {"site", "executor", "partition", "cpu_partition", "dry_run"},
    "cancel": _FOLDER,
    "clean": _FOLDER | {"yes"},
}
"""The options of an action that uses few."""

_NOT_OF_RUN = {"action", "follow", "yes"}


def parser(action: str | None = None) -> cli.Parser:
    """The command line, whose help lists the options of ``action``, or of all."""
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
    add("--wait", action="store_true", help="wait until all jobs have ended, then collect")
    add("--live", action="store_true", help="write the report again as runs end; its page loads "
        "itself again until all have ended; with Slurm it implies --wait; with `status --follow` "
        "for the jobs of an earlier call")  # fmt: skip
    add("--follow", action="store_true", help="with status: show progress until all runs have "
        "ended")  # fmt: skip
    add("--data", type=Path, metavar="DIR", help="folder of class folders "
        "(default: synthetic images, made once)")  # fmt: skip
    add("--new-images", type=Path, metavar="DIR", help="after training, classify the images in DIR "
        "with the most accurate network; the report shows them")  # fmt: skip
    add("--results", type=Path, metavar="DIR", help="folder for all results "
        "(default: results/<study>)")  # fmt: skip
    add("--only", metavar="GLOB", help="only runs whose run_id matches, such as 'train-ddp-*'")
    add("--only-failed", action="store_true", help="only runs that failed before")
    add("--max-node-hours", type=_node_hours, metavar="H", help="submit nothing if this folder's "
        "runs, past and queued ones too, can cost more than H by their time limits")  # fmt: skip
    add("--damaged", metavar="HOW", help="images with damaged pixels: quarantine (left out and "
        "listed) or keep (default: the study's)")  # fmt: skip
    add("--max-unreadable", metavar="SHARE", help="share of image files that may be unreadable or "
        "damaged, such as 0.05: with more the runs fail (default: the study's)")  # fmt: skip
    add("--staged", action="store_true", help="run small configurations first, all repeats of "
        "each; a series (runs that differ in workers or ranks only) stops where its efficiency "
        "over its own smallest size is below the floor: its larger runs are recorded as skipped; "
        "implies --wait")  # fmt: skip
    add("--efficiency-floor", type=_efficiency, metavar="E", help="floor of --staged, above 0 up "
        f"to 1 (default: {DEFAULT_FLOOR:g})")  # fmt: skip
    add(
        "--keep-going",
        action="store_true",
        help="make all runs even where the first runs "
        "of a stage fail alike; else the sweep stops there, and asks at a terminal",
    )
    add("--dry-run", action="store_true", help="print the plan and every script, run nothing")
    add("--yes", action="store_true", help="remove without asking")
    if action is not None:
        every = {one.dest for one in result._actions}
        own = {"help", *_OWN.get(action, every - _NOT_OF_RUN)}
        for one in result._actions:
            if one.dest not in own:
                one.help = argparse.SUPPRESS
        about = ACTIONS[action]
        result.usage = f"%(prog)s {action} [options]"
        result.description, result.epilog = about[:1].upper() + about[1:] + ".", None
    result.add_output()
    return result


def _node_hours(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number of node-hours, 0 or more")
    return value


def _efficiency(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0 up to 1, such as 0.5")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code 0: all done or skipped; 1: something failed; 2: wrong input."""
    words = sys.argv[1:] if argv is None else argv
    command_line = parser(next((word for word in words if word in ACTIONS), None))
    args = command_line.parse_args(argv)
    if args.efficiency_floor is not None and not args.staged:
        command_line.error("--efficiency-floor needs --staged")
    if args.follow and args.action != "status":
        command_line.error("--follow is an option of `status`")
    if args.live and args.action == "status" and not args.follow:
        command_line.error("with status, --live needs --follow")
    if args.live and args.action not in ("run", "status"):
        command_line.error("--live is an option of a sweep and of `status --follow`")
    args.efficiency_floor = args.efficiency_floor or DEFAULT_FLOOR
    options = SweepOptions(
        **{f.name: getattr(args, f.name) for f in dataclasses.fields(SweepOptions)}
    )
    from weather_hpc.sweep import check, follow, results_folder, run

    paths = _paths(options)
    if args.action == "run":
        with cli.advice():
            return run.run_study(options, paths)
    if args.action == "check":
        return check.run_check(options, paths)
    if args.action == "status":
        if args.follow:
            return follow.follow(paths, options.json, options.live)
        return results_folder.status(paths, options.json)
    if args.action == "cancel":
        message = results_folder.cancel(paths)
    else:
        message = results_folder.clean(paths, ask=not options.yes)
    if options.json:
        cli.print_json({"results": str(paths.root), "message": message})
    else:
        print(message)
    return cli.EXIT_OK


def _paths(options: SweepOptions) -> "StudyPaths":
    from weather_hpc.runs.paths import StudyPaths
    from weather_hpc.study.config import load_study

    root = options.results or Path("results") / load_study(options.study).name
    return StudyPaths(root.absolute())


if __name__ == "__main__":
    cli.run("sweep", main)
