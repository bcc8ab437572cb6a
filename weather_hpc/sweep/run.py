"""The action run: plan a study, run what is missing and collect; or only print the scripts."""

import dataclasses
import fnmatch
import json
import sys
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.dataset.catalogue import count_images, split_count
from weather_hpc.dataset.synthetic import WEAPD_COUNTS, make_synthetic
from weather_hpc.errors import UserError
from weather_hpc.launch import executors
from weather_hpc.launch.first_runs import FirstRuns
from weather_hpc.launch.folders import SUBMITTING_S, lock
from weather_hpc.launch.local_executor import skip_reason, this_machine
from weather_hpc.launch.sbatch import array_script, chunks
from weather_hpc.launch.script import run_script, slurm_run_script
from weather_hpc.launch.submitit_executor import parameters, without_requeue
from weather_hpc.launch.watch import BetweenRuns, nothing
from weather_hpc.predict.images import image_files
from weather_hpc.runs.forecast_file import add_forecast
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.plan_file import save_plan, with_earlier_predict, with_known_names
from weather_hpc.runs.reader import earlier_runs
from weather_hpc.runs.state import RunState, run_states
from weather_hpc.slurm.cluster import DEFAULT_MAX_ARRAY_SIZE
from weather_hpc.slurm.directives import by_shape, job_name
from weather_hpc.study.config import StudyConfig, Synthetic, load_study
from weather_hpc.study.flags import make_task
from weather_hpc.study.images import ImageCount
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.refusals import single_steps
from weather_hpc.study.site import SiteProfile, load_site
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.stages import reads_store
from weather_hpc.study.tasks import Backend, PreprocessTask
from weather_hpc.sweep.bounds import COLLECTING_H, Bound, other_jobs
from weather_hpc.sweep.check import suggest_check
from weather_hpc.sweep.forecast import Forecast, check_budget, forecast
from weather_hpc.sweep.live import LiveReport
from weather_hpc.sweep.options import SweepOptions
from weather_hpc.sweep.staged import StagedJobs, StagedRuns, stages, stopped

PREPARE_WORKERS = 8
"""The most CPUs that pack the training store: with more of them the disk is the limit."""


def run_study(options: SweepOptions, paths: StudyPaths) -> int:
    """Run a study in the results folder ``paths``, or print its scripts; the exit code."""
    study = _with_options(load_study(options.study), options)
    site = load_site(options.site).on(options.partition, options.cpu_partition)
    name = executors.choose(options.executor, options.partition, needed=not options.dry_run)
    data = _data_folder(options.data, paths, study.synthetic)
    workers = executors.prepare_workers(name, site, PREPARE_WORKERS)
    images, new_images = _count_images(options.data, study.synthetic), _new_images(options)
    plan = make_plan(study, str(data), workers, site, new_images, images)
    if notice := single_steps(plan.runs, images):
        print(notice, file=sys.stderr)
    plan = executors.within(name, plan, site)
    plan = with_known_names(paths, with_earlier_predict(paths, plan))
    first_runs = FirstRuns(paths, plan, options.keep_going)
    sweep = _Sweep(options, study, plan, paths, site, name, first_runs)
    return sweep.print_scripts() if options.dry_run else sweep.run()


@dataclass(frozen=True)
class _Sweep:
    """One call of the verb, with everything that its options name loaded."""

    options: SweepOptions
    study: StudyConfig
    plan: Plan
    paths: StudyPaths
    site: SiteProfile
    executor_name: str
    first_runs: FirstRuns

    def run(self) -> int:
        """Run or submit what is missing, collect what has ended; the exit code."""
        options, plan, paths = self.options, self.plan, self.paths
        selected_runs(plan, options.only)  # a wrong --only ends the call before anything is written
        if options.max_node_hours is not None and not paths.root.exists():
            # a study above the budget does not even make a folder
            check_budget(self.forecast(self.missing())[0], options.max_node_hours)
        if not options.live:
            return self.make(self.executor(nothing))
        jobs = self.executor_name != "local"
        if jobs and not options.wait:
            print("--live: waits for the jobs", file=sys.stderr)
        with LiveReport(paths, plan, jobs) as live:
            return self.make(self.executor(live.look))

    def make(self, executor: executors.Executor) -> int:
        """The same with ``executor``, from the lock of the folder on."""
        options, plan, paths = self.options, self.plan, self.paths
        background = isinstance(executor, executors.Background)
        with lock(paths, wait_s=SUBMITTING_S if background else 0.0):
            active = executor.active()
            missing = self.missing(active)
            costs, _ = self.forecast(missing, [s for s in plan.all if s.run_id in active])
            check_budget(costs, options.max_node_hours)
            save_plan(paths, plan)
            add_forecast(paths, costs.by_run)
            suggest_check(options, paths)
            if options.data is None:
                _make_images(Path(plan.data), self.study.synthetic)
            print(
                f"study {plan.study}: {len(missing)} of {len(plan.all)} runs to make "
                f"(executor {self.executor_name}), {len(active)} already queued or running, "
                f"results in {paths.root}\n{costs}",
                file=sys.stderr,
            )
            self.print_destinations(missing)
            states = executor.run(missing)
            if not isinstance(executor, executors.Background):
                return self._collect(states, costs)
            if not options.waits:
                return self._leave(executor.leave(), states, costs)
        run_ids = {spec.run_id for spec in missing} | active.keys()
        states = executor.wait([s for s in plan.all if s.run_id in run_ids])
        return self._collect(states, costs)

    def print_scripts(self) -> int:
        """Print every script that would be run, and the forecast; the exit code."""
        missing = self.missing()
        costs, skipped = self.forecast(missing)
        rows: list[dict[str, Any]] = []
        for script in scripts(self.executor_name, self.plan, missing, self.paths, self.site):
            reason = script.skipped or skipped.get(script.run_id or "")
            if not self.options.json:
                print(f"##### {script.path}{f'  (skipped: {reason})' if reason else ''}")
                print(script.text)
            if script.run_id:
                rows.append({"run_id": script.run_id, "skipped": reason})
        if self.options.staged:
            sizes = ", ".join(str(len(stage)) for stage in stages(missing))
            print(f"stages of {sizes} runs; a series below the floor stops", file=sys.stderr)
        print(
            f"{costs}\n{len(missing)} of {len(self.plan.all)} runs would be made; nothing was run",
            file=cli.words(self.options.json),
        )
        self.print_destinations(missing)
        if self.options.json:
            cli.print_json(
                {"results": str(self.paths.root), "runs": rows, "forecast": costs.as_dict()}
            )
        check_budget(costs, self.options.max_node_hours)
        return cli.EXIT_OK

    def print_destinations(self, missing: Sequence[RunSpec]) -> None:
        """Print the partitions of the runs, where there are partitions."""
        if where := executors.destinations(self.executor_name, missing, self.site):
            print(where, file=sys.stderr)

    def executor(self, between: BetweenRuns) -> executors.Executor:
        """The executor of the plan, by stages with ``--staged``."""
        make = executors.EXECUTORS[self.executor_name]
        executor = make(self.plan, self.paths, self.site, self.first_runs, between)
        floor = self.options.efficiency_floor
        if not self.options.staged:
            return executor
        if isinstance(executor, executors.Background):
            print("--staged: waits for the jobs of each stage", file=sys.stderr)
            return StagedJobs(executor, self.paths, floor, self.first_runs)
        return StagedRuns(executor, self.paths, floor, self.first_runs)

    def missing(self, active: Container[str] = ()) -> list[RunSpec]:
        """The runs to make, in their order; see :func:`missing_runs`."""
        options = self.options
        return missing_runs(self.plan, self.paths, options.only, options.only_failed, active)

    def forecast(
        self, missing: Sequence[RunSpec], active: Sequence[RunSpec] = ()
    ) -> tuple[Forecast, dict[str, str]]:
        """The node-hours of ``missing``, and why some of it will be skipped, by run_id."""
        earlier = earlier_runs(self.paths)
        skipped = executors.skip_reasons(self.executor_name, missing, self.site)
        if self.options.staged:
            skipped |= stopped(missing, earlier, self.options.efficiency_floor)
        specs = [spec for spec in missing if spec.run_id not in skipped]
        costs = forecast(specs, earlier, active, Bound.by(self.executor_name, self.site))
        here = self.executor_name == "local" or self.options.waits
        collecting = COLLECTING_H if specs and not here else 0.0
        used = costs.used + other_jobs(self.paths)
        return dataclasses.replace(costs, used=used, collecting=collecting), skipped

    def _collect(self, states: dict[str, RunState], costs: Forecast) -> int:
        """Collect what has ended; the exit code."""
        from weather_hpc.collect.pipeline import collect_study
        from weather_hpc.collect.summary import summary_text

        summary = collect_study(self.paths.root)
        counts = Counter(map(str, states.values()))
        if self.options.json:
            ran = {"results": str(self.paths.root), "ran": dict(counts)}
            stopped_stages = {"stopped": self.first_runs.stopped}
            cli.print_json({**ran, "forecast": costs.as_dict(), **summary, **stopped_stages})
        else:
            print(summary_text(summary))
        # once all was waited for: those that cannot start, and those that others are making
        wrong = counts[RunState.FAILED] + counts[RunState.PENDING] + counts[RunState.RUNNING]
        return cli.EXIT_FAILED if wrong else cli.EXIT_OK

    def _leave(self, jobs: list[int], states: dict[str, RunState], costs: Forecast) -> int:
        """Print how to follow the jobs, which continue after this call; the exit code."""
        root = self.paths.root
        if not jobs:
            print("no jobs are queued and nothing was submitted", file=sys.stderr)
            return self._collect(states, costs)
        *runs, report = map(str, jobs)
        if not self.options.json:
            print(f"jobs {', '.join(runs)}; job {report} writes the report")
            print(f"progress: {cli.command('sweep')} status --follow --results {root}")
        if self.options.json:
            counts = dict(Counter(map(str, states.values())))
            submitted = {"results": str(root), "jobs": jobs, "states": counts}
            cli.print_json({**submitted, "forecast": costs.as_dict()})
        return cli.EXIT_OK


def _with_options(study: StudyConfig, options: SweepOptions) -> StudyConfig:
    """The study with what the options say of damaged images. Raises UserError naming the option."""
    names = ("damaged", "max_unreadable")
    values = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    task = make_task(PreprocessTask, {"backend": Backend.SEQUENTIAL} | values)
    return study.model_copy(update={name: getattr(task, name) for name in values})


def _data_folder(data: Path | None, paths: StudyPaths, synthetic: Synthetic) -> Path:
    if data is None:
        return paths.data / f"synthetic-{synthetic.images_per_class}-seed{synthetic.seed}"
    if not data.is_dir():
        raise UserError(f"--data {data}: no such folder; expected one with a folder per class")
    return data.resolve()


def _count_images(data: Path | None, synthetic: Synthetic) -> ImageCount:
    """How many images the study has: files of the folder ``data``, or synthetic ones."""
    if data is not None:
        return count_images(data)
    per_class = synthetic.images_per_class
    where = f"the synthetic data (images_per_class: {per_class})"
    return split_count([per_class] * len(WEAPD_COUNTS), where)


def _new_images(options: SweepOptions) -> str | None:
    """The folder of --new-images as an absolute path. Raises UserError where it has no files."""
    folder = options.new_images
    if folder is None:
        return None
    if not folder.is_dir():
        raise UserError(f"--new-images {folder}: no such folder; expected one that holds images")
    image_files([folder])
    return str(folder.resolve())


def _make_images(folder: Path, synthetic: Synthetic) -> None:
    make_synthetic(folder, synthetic.images_per_class, synthetic.seed)


def selected_runs(plan: Plan, only: str | None) -> list[RunSpec]:
    """The runs whose run_id matches the pattern ``only``. Raises UserError where none does."""
    runs = [*plan.runs, plan.predict] if plan.predict else plan.runs
    selected = [spec for spec in runs if fnmatch.fnmatch(spec.run_id, only or "*")]
    if not selected:
        example = plan.runs[0].run_id
        raise UserError(f"--only {only}: matches no run; run_ids look like {example}")
    return selected


def missing_runs(
    plan: Plan,
    paths: StudyPaths,
    only: str | None = None,
    only_failed: bool = False,
    active: Container[str] = (),
) -> list[RunSpec]:
    """The runs to make: neither done nor ``active`` (queued or running, by run_id).

    Skipped runs are included, since the machine may have changed. So is the run that packs the
    store, whenever one of the runs needs it, and the one that predicts where networks are trained.
    """
    states = run_states(paths, plan.all)
    runs = selected = selected_runs(plan, only)
    if only_failed:
        runs = [s for s in runs if states[s.run_id] is RunState.FAILED]
    runs = [s for s in runs if states[s.run_id] is not RunState.DONE and s.run_id not in active]
    predict = plan.predict
    if predict in selected and predict not in runs and predict.run_id not in active:
        # a run that was skipped before is likely to be skipped again, and leaves no new network
        training = [s for s in runs if s.stage is Stage.TRAIN]
        if any(states[s.run_id] is not RunState.SKIPPED for s in training):
            runs.append(predict)
    store = plan.prepare
    if store and store.run_id not in active and any(reads_store(s.stage) for s in runs):
        packed = paths.store(plan.store_name).exists()
        if states[store.run_id] is not RunState.DONE or not packed:
            runs.insert(0, store)
    return runs


@dataclass(frozen=True)
class Script:
    """A script that a sweep would write. ``run_id`` is None for one that starts other scripts."""

    path: Path
    text: str
    run_id: str | None = None
    skipped: str | None = None


def scripts(
    executor: str, plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    """The scripts, or submitit's parameters, that ``executor`` (its name) would use for ``specs``.

    Neither Slurm nor submitit is needed, so nothing is known about the nodes of a cluster.
    """
    if executor == "local":
        machine = this_machine(specs, site.python)
        for spec in specs:
            text = run_script(plan, spec, paths, site)
            reason = skip_reason(spec, machine)
            yield Script(paths.script(spec.run_id), text, spec.run_id, reason)
        return
    size = site.slurm.max_array_size or DEFAULT_MAX_ARRAY_SIZE
    arrays = (
        (shape, chunk)
        for shape, group in by_shape(specs, site.slurm).items()
        for chunk in chunks(group, size)
    )
    for number, (shape, chunk) in enumerate(arrays, start=1):
        token, runs_site = f"array{number}", site
        if executor == "submitit":
            values = parameters(shape, len(chunk), job_name(plan.study, token), [], site)
            yield Script(paths.submitit(token), json.dumps(values, indent=2))
            runs_site = without_requeue(site)
        else:
            yield Script(paths.array_script(token), array_script(shape, chunk, token, paths, site))
        for spec in chunk:
            text = slurm_run_script(plan, spec, paths, runs_site)
            yield Script(paths.script(spec.run_id), text, spec.run_id)
