"""What ``sweep`` does when it runs a study: plan, run what is missing, collect; or only show it."""

import argparse
import fnmatch
import sys
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.launch import executors
from weather_hpc.launch.executors import impossible
from weather_hpc.launch.run_folder import SUBMITTING_S, lock
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.plan_file import save_plan, with_known_names
from weather_hpc.runs.reader import earlier_runs
from weather_hpc.runs.state import RunState, run_states
from weather_hpc.study.config import StudyConfig, Synthetic, load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile, load_site
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.sweep import check, dry_run
from weather_hpc.sweep.forecast import Forecast, check_budget, forecast
from weather_hpc.sweep.staged import Staged, StagedJobs, stages, stopped

PREPARE_WORKERS = 8
"""At most so many CPUs pack the training store: past that the disk is the limit."""


def run_study(args: argparse.Namespace, paths: StudyPaths) -> int:
    """Carry out what the verb's ``args`` ask for, in the results folder ``paths``; exit code."""
    study = load_study(args.study)
    site = load_site(args.site).on(args.partition, args.cpu_partition)
    name = executors.choose(args.executor, args.partition, needed=not args.dry_run)
    data = _data_folder(args.data, paths, study.synthetic)
    workers = executors.prepare_workers(name, site, PREPARE_WORKERS)
    plan = with_known_names(paths, make_plan(study, str(data), workers))
    sweep = _Sweep(args, study, plan, paths, site, name)
    return sweep.show() if args.dry_run else sweep.run()


@dataclass(frozen=True)
class _Sweep:
    """One call of the verb, with everything that it names loaded."""

    args: argparse.Namespace
    study: StudyConfig
    plan: Plan
    paths: StudyPaths
    site: SiteProfile
    executor_name: str

    def run(self) -> int:
        """Run or submit what is missing, collect what has ended; exit code."""
        args, plan, paths = self.args, self.plan, self.paths
        chosen_runs(plan, args.only)  # a wrong --only is told before anything is written
        if args.max_node_hours is not None and not paths.root.exists():
            # what costs too much does not even make a folder
            check_budget(self.outlook(self.todo())[0], args.max_node_hours)
        executor = self.executor()
        background = isinstance(executor, executors.Background)
        with lock(paths, wait_s=SUBMITTING_S if background else 0.0):
            in_hand = executor.active()
            todo = self.todo(in_hand)
            costs, _ = self.outlook(todo, [s for s in plan.all if s.run_id in in_hand])
            check_budget(costs, args.max_node_hours)
            save_plan(paths, plan)
            check.offer(args, paths)
            if args.data is None:
                _make_images(Path(plan.data), self.study.synthetic)
            print(
                f"study {plan.study}: {len(todo)} of {len(plan.all)} runs to make "
                f"(executor {self.executor_name}), {len(in_hand)} are in hand, "
                f"results in {paths.root}\n{costs}",
                file=sys.stderr,
            )
            ended = executor.run(todo)
            if not isinstance(executor, executors.Background):
                return self._finish(ended, costs)
            if not (args.wait or args.staged):
                return self._leave(executor.leave(), ended, costs)
        mine = {spec.run_id for spec in todo} | in_hand.keys()
        ended = executor.wait([s for s in plan.all if s.run_id in mine])
        return self._finish(ended, costs)

    def show(self) -> int:
        """Print every script that would be run, and the forecast; run nothing."""
        todo = self.todo()
        costs, skipped = self.outlook(todo)
        rows: list[dict[str, Any]] = []
        for script in dry_run.SCRIPTS[self.executor_name](self.plan, todo, self.paths, self.site):
            reason = script.skipped or skipped.get(script.run_id or "")
            print(f"##### {script.path}{f'  (skipped: {reason})' if reason else ''}")
            print(script.text)
            if script.run_id:
                rows.append({"run_id": script.run_id, "skipped": reason})
        if self.args.staged:
            sizes = ", ".join(str(len(stage)) for stage in stages(todo))
            print(f"stages of {sizes} runs, the later ones if they pay", file=sys.stderr)
        print(
            f"{costs}\n{len(todo)} of {len(self.plan.all)} runs would be made; nothing was run",
            file=sys.stderr,
        )
        if self.args.json:
            told = {"results": str(self.paths.root), "runs": rows, "forecast": costs.as_dict()}
            cli.print_json(told)
        check_budget(costs, self.args.max_node_hours)
        return cli.EXIT_OK

    def executor(self) -> executors.Executor:
        """What carries the plan out, by stages where that is asked for."""
        executor = executors.EXECUTORS[self.executor_name](self.plan, self.paths, self.site)
        if not self.args.staged:
            return executor
        if isinstance(executor, executors.Background):
            print("--staged: waits for the jobs of each stage", file=sys.stderr)
            return StagedJobs(executor, self.paths, self.args.efficiency_floor)
        return Staged(executor, self.paths, self.args.efficiency_floor)

    def todo(self, in_hand: Container[str] = ()) -> list[RunSpec]:
        """The runs to make, in their order."""
        args = self.args
        return runs_to_make(self.plan, self.paths, args.only, args.only_failed, in_hand)

    def outlook(
        self, todo: Sequence[RunSpec], in_hand: Sequence[RunSpec] = ()
    ) -> tuple[Forecast, dict[str, str]]:
        """What ``todo`` costs, and why some of it is known not to be made, by run_id."""
        earlier = earlier_runs(self.paths)
        skipped = impossible(self.executor_name, todo, self.site)
        if self.args.staged:
            skipped |= stopped(todo, earlier, self.args.efficiency_floor)
        going = [spec for spec in todo if spec.run_id not in skipped]
        return forecast(going, earlier, in_hand), skipped

    def _finish(self, ended: dict[str, RunState], costs: Forecast) -> int:
        """Collect what has ended."""
        from weather_hpc.collect import collect_study, tell

        summary = collect_study(self.paths.root)
        print(tell(summary), file=sys.stderr)
        counts = Counter(str(state) for state in ended.values())
        if self.args.json:
            told = {"results": str(self.paths.root), "ran": dict(counts)}
            cli.print_json({**told, "forecast": costs.as_dict(), **summary})
        return cli.EXIT_FAILED if counts[RunState.FAILED] else cli.EXIT_OK

    def _leave(self, jobs: list[int], stand: dict[str, RunState], costs: Forecast) -> int:
        """Tell how to come back to jobs that go on without us."""
        root = self.paths.root
        counts = Counter(str(state) for state in stand.values())
        if not jobs:
            print("nothing is in the queue and nothing was submitted", file=sys.stderr)
            return self._finish(stand, costs)
        print(f"jobs {', '.join(map(str, jobs))}; the last one collects", file=sys.stderr)
        print(f"see them: python -m weather_hpc.sweep status --results {root}", file=sys.stderr)
        if self.args.json:
            told = {"results": str(root), "jobs": jobs, "states": dict(counts)}
            cli.print_json({**told, "forecast": costs.as_dict()})
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


def chosen_runs(plan: Plan, only: str | None) -> list[RunSpec]:
    """The runs whose run_id matches the pattern ``only``. Raises UserError where none does."""
    chosen = [spec for spec in plan.runs if fnmatch.fnmatch(spec.run_id, only or "*")]
    if not chosen:
        example = plan.runs[0].run_id
        raise UserError(f"--only {only}: matches no run; a run_id is such as {example}")
    return chosen


def runs_to_make(
    plan: Plan,
    paths: StudyPaths,
    only: str | None = None,
    only_failed: bool = False,
    in_hand: Container[str] = (),
) -> list[RunSpec]:
    """What is still to be run, but for runs ``in_hand``, which wait or run already.

    A skipped run is looked at anew: the machine may have changed.

    The run that packs the store comes along whenever a chosen training run needs it.
    """
    state = run_states(paths, plan.all)
    chosen = chosen_runs(plan, only)
    if only_failed:
        chosen = [s for s in chosen if state[s.run_id] is RunState.FAILED]
    chosen = [s for s in chosen if state[s.run_id] is not RunState.DONE and s.run_id not in in_hand]
    store = plan.prepare
    wanted = any(s.stage is Stage.TRAIN for s in chosen)
    if store and wanted and store.run_id not in in_hand:
        packed = paths.store(plan.store_name).exists()
        if state[store.run_id] is not RunState.DONE or not packed:
            chosen.insert(0, store)
    return chosen
