"""The pipeline of the verb: sources -> rows -> comparison -> tables, plots and report."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import verbosity
from weather_hpc.analysis.advice import advice_table
from weather_hpc.analysis.advice_sentences import advice_sentences
from weather_hpc.analysis.allocation import Allocation
from weather_hpc.analysis.claims.rules import load_claims, published_claims
from weather_hpc.analysis.claims.table import claims_table
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.device_sentences import device_sentences
from weather_hpc.analysis.devices import devices_table
from weather_hpc.analysis.grids import grid_tables
from weather_hpc.analysis.law_table import laws_table
from weather_hpc.analysis.sentences import sentences
from weather_hpc.analysis.steps import comparisons_table
from weather_hpc.analysis.table import Table
from weather_hpc.analysis.verdict import Trust, verdict
from weather_hpc.collect.audit import audit, in_order
from weather_hpc.collect.machines import checks_table, gpus_table, read_checked
from weather_hpc.collect.predictions import read_predictions
from weather_hpc.collect.reference import ReferenceComparison, compare_with_reference
from weather_hpc.collect.reference_csv import Reference, load_reference
from weather_hpc.collect.reference_tolerance import Tolerance
from weather_hpc.collect.sources import find_sources, read_sources
from weather_hpc.collect.summary import choices, ends, reject_reasons
from weather_hpc.files import replacing, write_csv
from weather_hpc.report.collected import Collected
from weather_hpc.report.findings import key_findings
from weather_hpc.report.live import Live
from weather_hpc.report.others import REFERENCE, OtherValue
from weather_hpc.report.plots import remove_old_plots
from weather_hpc.report.predictions import predictions_table
from weather_hpc.report.write import remove_old_grids, write_report, write_table
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.row import FINDING_COLUMNS, REJECT_COLUMNS, ROW_COLUMNS, Severity
from weather_hpc.text import counted


@dataclass(frozen=True)
class CollectOptions:
    """Options of :func:`collect`."""

    pattern: str | None = None
    """Pattern of the names of text logs, such as ``ddp_{gpus}gpu_bs{batch_size}.log``."""
    formats: tuple[str, ...] = ()
    """Names or files of log formats; none: the known format that fits best."""
    reference: Path | None = None
    """Tables to compare with."""
    tolerance: str = "0.1"
    """See Tolerance.parse."""
    deadline_s: float | None = None
    budget_node_hours: float | None = None
    claims: Path | None = None
    """A YAML file of claims to test; None: those of the reproduced study."""
    allocation: str | None = None
    """See Allocation.parse."""
    live: Live | None = None
    """Of a study that is running: its page loads itself again."""


@dataclass(frozen=True)
class Analysis:
    """Everything that is said of runs, before anything of it is written."""

    collected: Collected
    advice: Table
    compared: ReferenceComparison | None
    """The comparison with a reference; None: none was given."""

    @property
    def tables(self) -> list[Table]:
        """Every table, those of the stages first."""
        return [*self.collected.comparison.tables, *self.collected.extras]


def analyse(
    paths: Sequence[Path],
    options: CollectOptions = CollectOptions(),
    laps: verbosity.Laps | None = None,
) -> Analysis:
    """Read the runs under ``paths`` and compare them; writes nothing but Slurm's accounting.

    Raises UserError if a path does not exist or holds no runs, or an option is wrong.
    """
    laps = laps or verbosity.Laps()
    tolerance = Tolerance.parse(options.tolerance)
    claims = load_claims(options.claims or published_claims())
    allocation = Allocation.parse(options.allocation) if options.allocation is not None else None
    # read first: the tables may be written to the same folder
    reference = load_reference(options.reference) if options.reference else None
    sources = find_sources(paths, options.pattern, options.formats)
    readings, unused = read_sources(sources)
    checked = read_checked(sources.found.checks if sources.found else ())
    rows = [reading.row for reading in readings]
    laps.done(f"reading {counted(len(rows), 'run')}")
    comparison = compare(rows)
    tables = comparison.tables
    predictions, unreadable = read_predictions(rows, sources.found)
    compared = compare_with_reference(tables, reference, tolerance) if reference else None
    findings = in_order(
        [
            *audit(readings, comparison, checked),
            *unused,
            *unreadable,
            *(compared.findings if compared else ()),
        ]
    )
    trust = verdict(comparison, findings)
    advice = advice_table(
        comparison,
        deadline_s=options.deadline_s,
        budget_node_hours=options.budget_node_hours,
        allocation=allocation,
        distrust="the verdict is red" if trust and trust.trust is Trust.RED else "",
    )
    laws, comparisons = laws_table(comparison), comparisons_table(comparison)
    tested, devices = claims_table(claims, comparison), devices_table(comparison)
    extras = [advice, laws, comparisons, devices, tested, *grid_tables(comparison)]
    extras.append(gpus_table(rows))
    if predictions:
        predicted = predictions_table(predictions)
        extras += [predicted, predicted.by_class]
    if checked:
        extras.append(checks_table(checked))
    if compared is not None:
        extras.append(compared.table)
    key_sentences = [
        *advice_sentences(advice),
        *device_sentences(devices),
        *sentences(comparison, laws, comparisons),
        *tested.findings,
    ]
    laps.done("audit and analysis")
    collected = Collected(
        comparison,
        findings,
        extras,
        key_sentences,
        live=options.live,
        reference=_others(reference),
        deadline_s=options.deadline_s,
        budget_node_hours=options.budget_node_hours,
    )
    return Analysis(collected, advice, compared)


def collect_study(root: Path) -> dict[str, Any]:
    """Collect the results folder ``root`` into itself; see :func:`collect`."""
    return collect([root], root)


def collect(
    paths: Sequence[Path], out: Path, options: CollectOptions = CollectOptions()
) -> dict[str, Any]:
    """Read the runs under ``paths`` and write rows, rejects, audit, tables, plots and the report.

    Everything goes into the folder ``out``, under the names of StudyPaths. Returns counts (runs,
    in_tables, rejected, ends of the others, findings by severity), images left out of the stores
    (left_out), how far to trust the numbers (verdict), what to run (choices), the largest effects
    (headlines) and these with all other sentences (key_findings), the outcome of the comparison
    with the reference, and the paths written, all serializable as JSON. Raises UserError if a path
    does not exist or holds no runs, or an option is wrong, and OSError if ``out`` cannot be
    written, for example on a full disk; an earlier collection stays whole then.
    """
    laps = verbosity.Laps()
    analysis = analyse(paths, options, laps)
    collected, compared = analysis.collected, analysis.compared
    comparison, findings = collected.comparison, collected.findings
    rows = comparison.rows
    to = StudyPaths(out.absolute())
    rejects = [row for row in rows if row.is_rejected]
    with replacing(to.root) as new_files:
        new = StudyPaths(new_files)
        # vars: rows are flat, and asdict copies every value
        write_csv(new.rows, ROW_COLUMNS, map(vars, rows))
        write_csv(new.rejects, REJECT_COLUMNS, map(vars, rejects))
        write_csv(new.audit, FINDING_COLUMNS, map(vars, findings))
        for table in analysis.tables:
            write_table(new.tables, table)
        report = write_report(new, collected)
    remove_old_grids(to.tables, {table.name for table in collected.extras})
    remove_old_plots(to.plots, report)

    laps.done("tables, plots and report")
    for path in (to.rows, to.rejects, to.audit, to.tables, to.plots):
        verbosity.detail(str(path))
    first = report.first
    severities = Counter(finding.severity for finding in findings)
    return {
        "runs": len(rows),
        "in_tables": sum(row.table is not None for row in rows),
        "rejected": len(rejects),
        "ends": ends(rows),
        "rejects_by_reason": reject_reasons(rows),
        "findings": {str(severity): severities[severity] for severity in Severity},
        "left_out": sorted({f.message for f in findings if f.tells_of_images_left_out}),
        "reference": None
        if compared is None
        else {
            "compared": compared.compared,
            "regressions": compared.regressions,
            "failed": compared.failed,
            "summary": compared.summary,
        },
        "rows": str(to.rows),
        "rejects": str(to.rejects),
        "audit": str(to.audit),
        "tables": [str(to.tables / f"{table.name}.csv") for table in analysis.tables],
        "plots": [
            str(to.plots / f"{plot.name}.svg") for plot in report.plots if plot.svg is not None
        ],
        "report": str(to.report),
        "choices": choices(
            analysis.advice, comparison.tables, allocation=options.allocation is not None
        ),
        "verdict": dataclasses.asdict(first.verdict) if first.verdict else None,
        "headlines": list(first.sentences),
        "key_findings": [
            *first.sentences,
            *key_findings(comparison, findings, collected.sentences),
        ],
    }


def _others(reference: Reference | None) -> list[OtherValue]:
    """The values of the tables to compare with, for the plots."""
    rows = () if reference is None else reference.rows
    return [OtherValue(REFERENCE, row.table, row.key, row.values) for row in rows]
