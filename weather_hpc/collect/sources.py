"""The inputs of collect: finds and reads run folders, text logs and accounting from sacct."""

import dataclasses
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weather_hpc import cli
from weather_hpc.collect.accounting import read_accounting
from weather_hpc.collect.duplicates import without_duplicates
from weather_hpc.collect.sacct_file import is_sacct
from weather_hpc.errors import UserError
from weather_hpc.logs import audit_across_logs, find_logs, formats, parse_pattern, read_logs
from weather_hpc.logs.log_format import LogFormat
from weather_hpc.logs.names import Pattern
from weather_hpc.runs.audit import audit_run
from weather_hpc.runs.ending import NEVER_STARTED
from weather_hpc.runs.node_hours import spent
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import load_plan
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Finding, Reading, Severity
from weather_hpc.runs.run import Run
from weather_hpc.slurm.accounting import refresh_accounting
from weather_hpc.text import one_line


@dataclass(frozen=True)
class Found:
    """Run folders, and the plans and check results of their studies."""

    runs: tuple[Path, ...]
    plans: tuple[StudyPaths, ...]
    """Study folders with a plan."""
    checks: tuple[Path, ...]
    """Results of the check verb: files ``check/<name>/check.jsonl``."""


def find_runs(paths: Iterable[Path]) -> Found:
    """Every run folder under ``paths``, each once, sorted by name.

    A path is a study folder, a folder of several, or a run folder. In a study folder every folder
    in ``runs/`` is a run, whatever it holds; elsewhere a run has a spec.json or record.json.
    Raises UserError for a path that does not exist or holds neither run nor plan.
    """
    runs: dict[Path, None] = {}
    plans: dict[Path, StudyPaths] = {}
    checks: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; expected the results folder of a study")
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
                f"{path}: holds no runs; expected a results folder with runs/*/record.json"
            )
    return Found(tuple(runs), tuple(plans.values()), tuple(checks))


def holds_runs(folder: Path) -> bool:
    """Whether :func:`find_runs` would find anything under ``folder``."""
    root = folder.resolve()
    return any(StudyPaths(below).plan.exists() or _is_run(below) for below in _walk(root))


def _checks(study: StudyPaths) -> Iterator[Path]:
    """The results of the check verb in ``study``."""
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
    """The folders under ``root``, except those inside runs and those next to a ``runs/``."""
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
    """The inputs by kind."""

    found: Found | None
    """None: no folder with runs was named."""
    logs: list[Path]
    exports: list[Path]
    """Files with the output of sacct, readable or not."""
    beside: list[Path]
    """Such files that were found in folders of logs."""
    pattern: Pattern | None
    """Of the names of logs."""
    formats: list[LogFormat]
    """Formats that a log may have; not loaded where there are no logs."""


def find_sources(
    paths: Sequence[Path], pattern: str | None = None, names: Sequence[str] = ()
) -> Sources:
    """The inputs in ``paths``. A file is accounting (the output of sacct) or a log.

    A folder with runs is read for its runs, and for logs too if ``pattern`` (of their names) or
    ``names`` (of their formats) is given; any other folder is a folder of logs. Raises UserError
    if a path does not exist or holds no input, or the pattern or a format is wrong.
    """
    parsed = parse_pattern(pattern) if pattern else None
    chosen = formats(tuple(names)) if names else []
    folders: list[Path] = []
    logs: dict[Path, None] = {}
    exports: list[Path] = []
    beside: list[Path] = []
    for path in paths:
        if is_sacct(path):
            exports.append(path)
            continue
        has_runs = path.is_dir() and holds_runs(path)
        if has_runs:
            folders.append(path)
        if not has_runs or parsed is not None or names:
            found = find_logs([path], parsed)
            tables = _accounting(path, found)
            beside += tables
            logs |= dict.fromkeys(file for file in found if file not in tables)
            if not has_runs and not found:
                if (path / "rows.csv").is_file():
                    raise UserError(
                        f"{path}: holds what was collected, not the runs; name their folder"
                    )
                raise UserError(
                    f"{path}: holds neither runs nor logs; expected a results folder with "
                    "runs/*/record.json, or text logs (with other names: give --pattern)"
                )
    if (exports or beside) and not (folders or logs):
        only = [*exports, *beside][0]
        raise UserError(f"{only}: holds only accounting; add the path of its runs or logs")
    found_runs = find_runs(folders) if folders else None
    if logs and not names:
        chosen = formats()
    return Sources(found_runs, list(logs), exports, beside, parsed, chosen)


def _accounting(folder: Path, logs: Iterable[Path]) -> list[Path]:
    """The files of accounting among ``logs``, and in their ``folder`` those named like it."""
    named = (file for file in folder.glob("*") if re.search("(?i)acct|accounting", file.name))
    return [file for file in dict.fromkeys([*logs, *sorted(named)]) if is_sacct(file)]


def read_sources(sources: Sources) -> tuple[list[Reading], tuple[Finding, ...]]:
    """Every run and log with its accounting, copies rejected; findings on files of accounting."""
    readings: list[Reading] = []
    if sources.found is not None:
        for study in sources.found.plans:
            try:
                refresh_accounting(study)
            except UserError as error:  # use the accounting on disk
                print(f"accounting not updated: {one_line(error)}", file=sys.stderr)
        readings += read_runs(sources.found)
    logs = list(read_logs(sources.logs, sources.pattern, sources.formats))
    accounting = read_accounting(sources.exports, sources.beside, [*readings, *logs])
    readings = list(accounting.with_jobs(readings, _with_comparison_findings(logs)))
    kept = [_with_error_codes(reading) for reading in without_duplicates(readings)]
    return kept, accounting.findings


def _with_comparison_findings(logs: Sequence[Reading]) -> Iterator[Reading]:
    """``logs`` with the findings that come from comparing them."""
    found: dict[str, list[Finding]] = {}
    for finding in audit_across_logs(reading.row for reading in logs):
        found.setdefault(finding.source, []).append(finding)
    for reading in logs:
        more = found.get(reading.row.run_id, ())
        yield dataclasses.replace(reading, findings=(*reading.findings, *more))


def _with_error_codes(reading: Reading) -> Reading:
    """``reading`` with the codes of its errors in its row, so that it is never recommended."""
    codes = {str(f.code): None for f in reading.findings if f.severity is Severity.ERROR}
    if not codes:
        return reading
    row = dataclasses.replace(reading.row, audit_errors="; ".join(codes))
    return dataclasses.replace(reading, row=row)


def read_runs(found: Found) -> Iterator[Reading]:
    """Every run folder, then the planned runs without a folder."""
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
    row = run.row
    row = dataclasses.replace(row, node_hours_spent=spent(run, row) or None)
    return Reading(row, tuple(audit_run(run)), run.content, key=key)


def _never_started(study: StudyPaths, known: set[str]) -> list[Run]:
    """The planned runs of ``study`` that are not ``known``, or a failed one for an invalid plan."""
    try:
        plan = load_plan(study)
    except (UserError, OSError) as error:
        return [Run(study.plan.name, study.root, Status.FAILED, str(error))]
    return [
        Run(spec.run_id, study.run(spec.run_id).root, Status.INCOMPLETE,
            NEVER_STARTED, spec)
        for spec in plan.all
        if spec.run_id not in known
    ]  # fmt: skip
