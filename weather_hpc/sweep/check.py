"""The action check: run the check verb on the machines that a study would use."""

import subprocess
import sys
import time

from weather_hpc import cli
from weather_hpc.collect.machines import RESULTS, Checked, read_checked
from weather_hpc.errors import FailedError
from weather_hpc.launch import executors
from weather_hpc.launch.family import Family
from weather_hpc.launch.folders import SUBMITTING_S, lock, write_script
from weather_hpc.launch.sbatch import (
    LOCAL_CHECK,
    check_script,
    local_check_script,
    planned_checks,
)
from weather_hpc.launch.slurm_executor import SlurmExecutor
from weather_hpc.launch.watch import FIRST_PAUSE_S, next_pause
from weather_hpc.runs.ending import exit_text, from_logs
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.cluster import check_partitions, read_cluster, skip_reason
from weather_hpc.slurm.directives import job_name
from weather_hpc.slurm.jobs import Key, of_ours
from weather_hpc.slurm.ledger import queue
from weather_hpc.slurm.pending import News, waiting
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile, load_site
from weather_hpc.sweep.options import SweepOptions


def suggest_check(options: SweepOptions, paths: StudyPaths) -> None:
    """Before the first runs of a folder, print the command that checks its machines."""
    if not (paths.runs.exists() or paths.checks.exists()):
        print(
            "machines not checked yet; this tests their results and speed in a few minutes: "
            f"`{options.check_command}`",
            file=sys.stderr,
        )


def run_check(options: SweepOptions, paths: StudyPaths) -> int:
    """Check the machines of the study; the exit code: 1 where a check failed."""
    site = load_site(options.site).on(options.partition, options.cpu_partition)
    executor = executors.choose(options.executor, options.partition, needed=not options.dry_run)
    plan = executors.within(executor, make_plan(load_study(options.study), "", site=site), site)
    if executor == "local":
        script = local_check_script(planned_checks(plan.all)[0], paths, site)
        if options.dry_run:
            print(script)
            return cli.EXIT_OK
        calls = [_check_here(script, paths, quiet=options.json)]
    elif options.dry_run:
        for check in planned_checks(plan.all):
            name = job_name(plan.study, check.name)
            print(check_script(check, name, check.name, paths, site))
        return cli.EXIT_OK
    else:
        calls = _check_by_jobs(plan, paths, site)
        for call in calls:
            _print(call, options.json)
    results = [(call.name, result) for call in calls for result in call.results]
    if options.json:
        rows = [{"where": name, **result.model_dump()} for name, result in results]
        cli.print_json({"results": str(paths.root), "checks": rows})
    failed = any(result.ok is False for _, result in results)
    return cli.EXIT_FAILED if failed else cli.EXIT_OK


def _check_here(script: str, paths: StudyPaths, quiet: bool) -> Checked:
    """Run ``script`` on this machine while no sweep runs; it prints results as they come."""
    path = paths.script(f"check-{LOCAL_CHECK}")
    with lock(paths):
        _prepare(paths, LOCAL_CHECK)
        write_script(path, script)
        check = Family(["bash", str(path)], stdout=subprocess.DEVNULL if quiet else None)
        try:
            code = check.wait()
        except BaseException:
            check.end()
            raise
    checked = _results(paths, LOCAL_CHECK, f"; {exit_text(code)}")
    if code not in (cli.EXIT_OK, cli.EXIT_FAILED):
        file = paths.check(LOCAL_CHECK).results
        raise FailedError(f"the check died: {exit_text(code)}; its results so far: {file}")
    return checked


def _check_by_jobs(plan: Plan, paths: StudyPaths, site: SiteProfile) -> list[Checked]:
    """Submit checks of the nodes that the study's runs can use, and wait for them."""
    executor = SlurmExecutor(plan, paths, site)
    slurm = executor.slurm
    cluster = read_cluster(slurm)
    check_partitions(cluster, site)
    runs = [spec for spec in plan.all if skip_reason(spec, cluster, site) is None]
    jobs: dict[str, Key] = {}
    last = None
    with lock(paths, wait_s=SUBMITTING_S):
        for check in planned_checks(runs):
            _prepare(paths, check.name)
            # one after the other: together they would share the bandwidth
            jobs[check.name] = last = executor.submit_check(check, after=last)
            slurm.notify(f"job {last[0]}: {check.name}")
    pause, news = FIRST_PAUSE_S, News()
    while open_checks := list(of_ours(queue(paths, slurm).values(), jobs.values()).values()):
        now = time.monotonic()
        for line in news.lines(waiting(open_checks), now):
            slurm.notify(line)
        if news.stuck(open_checks, now):
            raise FailedError("the checks cannot start; see above")
        time.sleep(pause)
        pause = next_pause(pause)
    return [
        _results(paths, name, from_logs([paths.job_logs / f"{job_id}.log"]))
        for name, (job_id, _) in jobs.items()
    ]


def _prepare(paths: StudyPaths, name: str) -> None:
    """Make the folder of a check; remove the results of an earlier call."""
    paths.check(name).root.mkdir(parents=True, exist_ok=True)
    paths.check(name).results.unlink(missing_ok=True)


def _results(paths: StudyPaths, name: str, hint: str) -> Checked:
    """The results of a check. Raises FailedError where there are none."""
    path = paths.check(name).results
    (checked,) = read_checked([path])
    if not checked.results:
        raise FailedError(f"{name}: the check left no results in {path}{hint}")
    return checked


def _print(checked: Checked, as_json: bool) -> None:
    for result in checked.results:
        detail = f": {result.detail}" if result.detail else ""
        line = f"{checked.name}: {RESULTS[result.ok]:<8} {result.name}{detail}"
        print(line, file=cli.words(as_json))
