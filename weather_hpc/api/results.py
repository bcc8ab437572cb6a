"""Results: what a study measured, as data frames, figures and sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pandas import DataFrame

from weather_hpc.analysis.table import COLUMNS, Table
from weather_hpc.analysis.verdict import Verdict
from weather_hpc.api.figures import Figures
from weather_hpc.api.frames import TableFrame, frame, run_frame, table_frame
from weather_hpc.api.notebook import notebook_html
from weather_hpc.collect.pipeline import Analysis, CollectOptions, analyse
from weather_hpc.errors import UserError, nearest
from weather_hpc.report.layout import card_text
from weather_hpc.report.section import Card, Report
from weather_hpc.report.sections import report_of
from weather_hpc.runs.epochs import Epoch, read_epochs
from weather_hpc.runs.row import FINDING_COLUMNS, REJECT_COLUMNS, ROW_COLUMNS, Row
from weather_hpc.runs.telemetry import Sample
from weather_hpc.runs.telemetry_file import read_telemetry
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE


def load(
    *paths: str | Path,
    pattern: str | None = None,
    formats: Sequence[str | Path] = (),
    reference: str | Path | None = None,
    tolerance: float | str = "0.1",
    deadline_s: float | None = None,
    budget_node_hours: float | None = None,
) -> "Results":
    """Read the runs under ``paths``: results folders, run folders, or text logs of any program.

    The options are those of ``python -m weather_hpc.collect``: ``pattern`` of the names of logs,
    ``formats`` of logs, a ``reference`` to compare with and its ``tolerance``, and for the advice a
    deadline, seconds, and a budget, node-hours. Runs that are still going on are in ``rows``
    only; load again to see more.

    Raises UserError if a path does not exist or holds no runs, or an option is wrong.
    """
    if not paths:
        raise UserError("load: name a folder of results, such as results/quick")
    if wrong := [path for path in paths if not isinstance(path, str | Path)]:
        raise UserError(f"load: {wrong[0]!r} is no path; give several as load('a', 'b')")
    options = CollectOptions(
        pattern=pattern,
        formats=tuple(map(str, formats)),
        reference=None if reference is None else Path(reference),
        tolerance=str(tolerance),
        deadline_s=deadline_s,
        budget_node_hours=budget_node_hours,
    )
    return Results(analyse([Path(path) for path in paths], options))


@dataclass(frozen=True, repr=False)
class Results:
    """What was measured, and what the analysis says of it; made by :func:`load`.

    Every table is a new ``pandas.DataFrame`` with the columns of its CSV file, those that the
    report shows first in front. A value that does not apply or is unknown is ``pandas.NA``.
    Units are in the names: ``_s`` seconds, ``_mb`` megabytes (1e6 bytes), ``_px`` pixels.
    """

    analysis: Analysis

    @property
    def training(self) -> TableFrame:
        """A row per configuration of training: time with its interval, speedup, efficiency."""
        return self._scaling(Stage.TRAIN)

    @property
    def preprocess(self) -> TableFrame:
        """The same of preprocessing, by backend and workers."""
        return self._scaling(Stage.PREPROCESS)

    @property
    def eda(self) -> TableFrame:
        """The same of exploring the images, by backend and workers."""
        return self._scaling(Stage.EDA)

    @property
    def array(self) -> TableFrame:
        """The same of operations on arrays, by engine and workers."""
        return self._scaling(Stage.ARRAY)

    @property
    def rows(self) -> DataFrame:
        """A row per run, rejected ones too: settings, times, memory, hardware, versions."""
        return frame(map(vars, self._rows), ROW_COLUMNS)

    @property
    def rejects(self) -> DataFrame:
        """``run_id``, ``status`` and ``reason`` of every run that is in no table."""
        rejected = (vars(row) for row in self._rows if row.is_rejected)
        return frame(rejected, REJECT_COLUMNS)

    @property
    def audit(self) -> DataFrame:
        """What looks wrong: ``source``, ``severity``, ``code`` and ``message``, worst first."""
        return frame(map(vars, self.analysis.collected.findings), FINDING_COLUMNS)

    @property
    def curves(self) -> DataFrame:
        """A row per epoch of every run of training, with ``run_id`` and settings.

        ``loss``, ``accuracy``, ``test_loss`` and ``test_accuracy`` (0 to 1), ``time_s`` of the
        epoch, ``measured_s`` up to its end and ``wall_s`` since the start. Logs of other programs
        have none.
        """
        settings = (
            "configuration", "repeat", "strategy", "device", "nodes", "workers",
            "batch_size_per_device", "model", "recipe",
        )  # fmt: skip
        training = [row for row in self._rows if row.stage == Stage.TRAIN]
        return run_frame(training, settings, Epoch, lambda files: read_epochs(files.events))

    @property
    def telemetry(self) -> DataFrame:
        """A row per sample of every run: use of CPUs, memory and devices, power.

        ``at`` is UNIX time, s; percentages of CPUs are of one core.
        """
        settings = ("stage", "configuration", "repeat")
        return run_frame(
            self._rows, settings, Sample, lambda files: read_telemetry(files.telemetry)
        )

    @property
    def tables(self) -> list[str]:
        """The names of all tables, for :meth:`table`."""
        return list(self._tables)

    def table(self, name: str) -> TableFrame:
        """The table ``name``, such as ``advice``, ``laws`` or ``comparisons``; see :attr:`tables`.

        Raises UserError if there is none of that name.
        """
        found = self._tables.get(name)
        if found is None:
            raise UserError(f"no table {name!r}{nearest(name, self.tables)}")
        return table_frame(found)

    @cached_property
    def plot(self) -> Figures:
        """The report's plots as matplotlib figures: ``results.plot.speedup()``."""
        return Figures(self.report.plots, self._measured)

    @property
    def verdict(self) -> Verdict | None:
        """How far the numbers can be trusted, and why; None: nothing was measured."""
        return self.report.first.verdict

    @property
    def headlines(self) -> Sequence[str]:
        """The largest effects as sentences, largest first."""
        return self.report.first.sentences

    @property
    def cards(self) -> Sequence[Card]:
        """Fastest, cheapest (fewest node-hours), where scaling stops, and the accuracy kept."""
        return self.report.first.cards

    @cached_property
    def report(self) -> Report:
        """All that the page says, section by section; its plots are not drawn yet."""
        return report_of(self.analysis.collected)

    def __repr__(self) -> str:
        first = self.report.first
        verdict = [f"{first.verdict.trust}: {first.verdict.text}"] if first.verdict else []
        return "\n".join([first.subject, *verdict, *map(card_text, first.cards), *first.sentences])

    def _repr_html_(self) -> str:
        """The first screen of the report and the scaling tables, for notebooks."""
        return notebook_html(self.report, self.analysis.collected.comparison.tables)

    @property
    def _rows(self) -> Sequence[Row]:
        return self.analysis.collected.comparison.rows

    @property
    def _measured(self) -> list[str]:
        """The names of the scaling tables that have rows, training first."""
        tables = [table.name for table in self.analysis.collected.comparison.tables if table.rows]
        return sorted(tables, key=lambda name: BY_TABLE[name].stage is not Stage.TRAIN)

    @cached_property
    def _tables(self) -> Mapping[str, Table]:
        tables = [*self.analysis.tables, *self.report.own_tables]
        return {table.name: table for table in tables}

    def _scaling(self, stage: Stage) -> TableFrame:
        compared = self.analysis.collected.comparison.by_stage.get(stage)
        return (
            TableFrame(frame((), COLUMNS[stage]))
            if compared is None
            else table_frame(compared.table)
        )
