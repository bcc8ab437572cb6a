"""What ``sweep check`` does: run the check verb where the study's runs would be made."""

import argparse
import shlex
import subprocess
import sys
import time

from weather_hpc import cli
from weather_hpc.collect.checks import RESULTS, Checked, read_checked
from weather_hpc.errors import FailedError
from weather_hpc.files import write_text
from weather_hpc.launch import executors
from weather_hpc.launch.local_executor import end
from weather_hpc.launch.run_folder import SUBMITTING_S, lock
from weather_hpc.launch.sbatch import CHECK_HERE, check_script, local_check_script, planned_checks
from weather_hpc.launch.slurm_executor import SlurmExecutor
from weather_hpc.launch.watch import FIRST_PAUSE_S, LONGEST_PAUSE_S
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.provenance import utc_now
from weather_hpc.slurm import cluster as slurm_cluster
from weather_hpc.slurm import ledger
from weather_hpc.slurm.directives import job_name
from weather_hpc.slurm.ledger import Submission, open_jobs
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile, load_site

OPTIONS = ("study", "site", "executor", "partition", "cpu_partition", "results")
"""Of the sweep verb, those that say where a study's runs are made."""


def offer(args: argparse.Namespace, paths: StudyPaths) -> None:
    """Say once, before a folder's first runs, that its machines can be checked."""
    if paths.runs.exists() or paths.checks.exists():
        return
    given = [(f"--{name.replace('_', '-')}", getattr(args, name)) for name in OPTIONS]
    words = [str(word) for flag, value in given if value not in (None, "auto")
             for word in (flag, value)]  # fmt: skip
    print(
        "not checked yet: whether the machines compute rightly, and how fast, is told within "
        f"minutes by `{shlex.join(['python', '-m', 'weather_hpc.sweep', 'check', *words])}`",
        file=sys.stderr,
    )


def run_check(args: argparse.Namespace, paths: StudyPaths) -> int:
    """Carry out what the verb's ``args`` ask for; exit code: 1 where a check failed."""
    plan = make_plan(load_study(args.study), "")
    site = load_site(args.site).on(args.partition, args.cpu_partition)
    executor = executors.choose(args.executor, args.partition, needed=not args.dry_run)
    if executor == "local":
        script = local_check_script(planned_checks(plan.all)[0], paths, site)
        if args.dry_run:
            print(script)
            return cli.EXIT_OK
        found = [_here(script, paths, quiet=args.json)]
    elif args.dry_run:
        for check in planned_checks(plan.all):
            print(check_script(check, job_name(plan.study, check.name), paths, site))
        return cli.EXIT_OK
    else:
        found = _jobs(plan, paths, site)
        for one in found:
            _print(one)
    results = [result for one in found for result in one.results]
    if args.json:
        told = [{"where": one.name, **r.model_dump()} for one in found for r in one.results]
        cli.print_json({"results": str(paths.root), "checks": told})
    return cli.EXIT_FAILED if any(r.ok is False for r in results) else cli.EXIT_OK


def _here(script: str, paths: StudyPaths, quiet: bool) -> Checked:
    """Run ``script`` on this machine, alone; it prints its results as they come."""
    path = paths.script(f"check-{CHECK_HERE}")
    with lock(paths):
        _begin(paths, CHECK_HERE)
        write_text(path, script)
        child = subprocess.Popen(
            ["bash", str(path)],
            stdout=subprocess.DEVNULL if quiet else None,
            start_new_session=True,
        )
        try:
            code = child.wait()
        except BaseException:
            end(child)
            raise
    checked = _results(paths, CHECK_HERE, f"it ended with exit code {code}")
    if code not in (cli.EXIT_OK, cli.EXIT_FAILED):
        left = paths.check(CHECK_HERE).results
        raise FailedError(f"the check broke off with exit code {code}; {left} has what it found")
    return checked


def _jobs(plan: Plan, paths: StudyPaths, site: SiteProfile) -> list[Checked]:
    """Submit the checks of the runs that the cluster can hold, and wait for them."""
    executor = SlurmExecutor(plan, paths, site)
    slurm = executor.slurm
    cluster = slurm_cluster.ask(slurm)
    slurm_cluster.check_partitions(cluster, site)
    possible = [s for s in plan.all if slurm_cluster.skip_reason(s, cluster, site) is None]
    jobs: dict[str, int] = {}
    with lock(paths, wait_s=SUBMITTING_S):
        for check in planned_checks(possible):
            _begin(paths, check.name)
            token = ledger.new_token()
            entry = Submission(token, job_name(plan.study, token), check.name, [], utc_now())
            text = check_script(check, entry.job_name, paths, site)
            # one after the other: they would take each other's bandwidth
            after = [f"--dependency=afterany:{job}" for job in list(jobs.values())[-1:]]
            jobs[check.name] = executor.submit(entry, text, after)
            slurm.say(f"job {jobs[check.name]}: {check.name}")
    pause = FIRST_PAUSE_S
    while set(jobs.values()) & set(open_jobs(paths, slurm)):
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)
    return [
        _results(paths, name, f"see {paths.job_logs / f'{job}.log'}") for name, job in jobs.items()
    ]


def _begin(paths: StudyPaths, name: str) -> None:
    """Make room for the results of one check: those of an earlier call go."""
    paths.check(name).root.mkdir(parents=True, exist_ok=True)
    paths.check(name).results.unlink(missing_ok=True)


def _results(paths: StudyPaths, name: str, hint: str) -> Checked:
    """What a check has left. Raises FailedError where that is nothing."""
    path = paths.check(name).results
    (checked,) = read_checked([path])
    if not checked.results:
        raise FailedError(f"{name}: the check left no results in {path}; {hint}")
    return checked


def _print(checked: Checked) -> None:
    for result in checked.results:
        detail = f": {result.detail}" if result.detail else ""
        print(f"{checked.name}: {RESULTS[result.ok]:<8} {result.name}{detail}")
