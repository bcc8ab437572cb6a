"""Everything under the paths that a user names, read: run folders, text logs, accounting."""

import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weather_hpc import cli
from weather_hpc.collect.audit import audit_run
from weather_hpc.collect.duplicates import without_duplicates
from weather_hpc.collect.sacct_file import is_sacct, read_sacct
from weather_hpc.errors import UserError
from weather_hpc.logs import audit_siblings, find_logs, formats, parse_pattern, read_logs
from weather_hpc.logs.log_format import LogFormat
from weather_hpc.logs.pattern import Pattern
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import load_plan
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Finding, Reading, Severity
from weather_hpc.runs.run import JobSummary, Run, with_job
from weather_hpc.slurm.accounting import refresh_accounting


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


@dataclass(frozen=True)
class Sources:
    """What is to be read, sorted by how."""

    found: Found | None
    """Run folders and what lies beside them; None: no folder with runs was named."""
    logs: list[Path]
    accounts: list[Path]
    """Exported by sacct."""
    pattern: Pattern | None
    known: list[LogFormat]


def find_sources(
    paths: Sequence[Path], pattern: str | None = None, names: Sequence[str] = ()
) -> Sources:
    """What ``paths`` hold. A file is an export of sacct's or else a log.

    A folder with runs is read for its runs, and for logs too where ``pattern`` (of their names)
    or ``names`` (of their formats) ask for logs; any other folder is one of logs. Raises UserError
    where a path does not exist or holds nothing, or pattern or formats are wrong.
    """
    parsed = parse_pattern(pattern) if pattern else None
    known = formats(tuple(names))
    folders: list[Path] = []
    logs: dict[Path, None] = {}
    accounts: list[Path] = []
    for path in paths:
        if is_sacct(path):
            accounts.append(path)
            continue
        own = path.is_dir() and holds_runs(path)
        if own:
            folders.append(path)
        if not own or parsed is not None or names:
            found = find_logs([path], parsed)
            logs |= dict.fromkeys(found)
            if not own and not found:
                raise UserError(
                    f"{path}: holds neither runs nor logs; wanted is a results folder with "
                    "runs/*/record.json, or text logs (named otherwise: give --pattern)"
                )
    if accounts and not (folders or logs):
        raise UserError(f"{accounts[0]}: is accounting alone; name the runs or logs beside it")
    found_runs = find_runs(folders) if folders else None
    return Sources(found_runs, list(logs), accounts, parsed, known)


def read_sources(sources: Sources) -> list[Reading]:
    """Every run and log once, with its accounting; those that are there twice are rejected."""
    readings: list[Reading] = []
    if sources.found is not None:
        for study in sources.found.plans:
            try:
                refresh_accounting(study)
            except UserError as error:  # what is on disk stands
                print(f"accounting: {error}", file=sys.stderr)
        readings += read_runs(sources.found)
    logs = list(read_logs(sources.logs, sources.pattern, sources.known))
    readings += _with_sibling_findings(logs)
    readings = list(_with_accounts(readings, sources.accounts))
    return [_with_doubts(reading) for reading in without_duplicates(readings)]


def _with_sibling_findings(logs: Sequence[Reading]) -> Iterator[Reading]:
    found: dict[str, list[Finding]] = {}
    for finding in audit_siblings(reading.row for reading in logs):
        found.setdefault(finding.source, []).append(finding)
    for reading in logs:
        more = found.get(reading.row.run_id, ())
        yield dataclasses.replace(reading, findings=(*reading.findings, *more))


def _with_accounts(readings: Sequence[Reading], accounts: Iterable[Path]) -> Iterator[Reading]:
    """``readings`` with what exports tell of jobs that the scheduler was not asked about."""
    wanted = {r.row.slurm_job_id for r in readings if r.row.slurm_job_id}
    jobs: dict[str, JobSummary] = {}
    for path in accounts:
        jobs |= read_sacct(path, wanted)
    for reading in readings:
        row = reading.row
        job = jobs.get(row.slurm_job_id or "")
        if job is None or row.slurm_source == "sacct":
            yield reading
        else:
            yield dataclasses.replace(reading, row=with_job(row, job))


def _with_doubts(reading: Reading) -> Reading:
    """``reading`` whose row names its errors, so that nothing is advised that is doubtful."""
    codes = {str(f.code): None for f in reading.findings if f.severity is Severity.ERROR}
    if not codes:
        return reading
    row = dataclasses.replace(reading.row, audit_errors="; ".join(codes))
    return dataclasses.replace(reading, row=row)


def read_runs(found: Found) -> Iterator[Reading]:
    """Every run folder read, then the planned runs that never left a folder."""
    known: set[str] = set()
    with cli.progress("reading records", total=len(found.runs)) as advance:
        for folder in found.runs:
            run = read_run(folder)
            known.add(run.run_id)
            yield _reading(run)
            advance()
    for study in found.plans:
        yield from map(_reading, _never_started(study, known))


def _reading(run: Run) -> Reading:
    key = run.spec.key if run.spec else None
    return Reading(run.row, tuple(audit_run(run)), run.content, key=key)


def _never_started(study: StudyPaths, known: set[str]) -> list[Run]:
    try:
        plan = load_plan(study)
    except (UserError, OSError) as error:
        return [Run(study.plan.name, study.root, Status.FAILED, str(error))]
    return [
        Run(spec.run_id, study.run(spec.run_id).root, Status.INCOMPLETE,
            "planned, never started", spec)
        for spec in plan.all
        if spec.run_id not in known
    ]  # fmt: skip
