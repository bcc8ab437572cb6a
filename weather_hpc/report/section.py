"""What a report consists of, whatever its format: a first screen and sections."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from weather_hpc.analysis.table import Table
from weather_hpc.analysis.verdict import Verdict
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.picture import Picture


@dataclass(frozen=True)
class Card:
    """One number that matters most."""

    label: str
    """What it is, such as ``Fastest``."""
    value: str
    """With its unit; or a short text where there is no number."""
    interval: str = ""
    detail: str = ""
    """Of which configuration, against which baseline."""


@dataclass(frozen=True)
class FirstScreen:
    """What stands above everything else."""

    subject: str
    """What was measured, in one line."""
    verdict: Verdict | None = None
    """None: nothing was measured."""
    cards: Sequence[Card] = ()
    plots: Sequence[Drawing] = ()
    """At most two, side by side."""
    sentences: Sequence[str] = ()
    """The largest effects, largest first."""


@dataclass(frozen=True)
class ReportSection:
    """A heading and its content; any part may be empty."""

    name: str
    """Its id on the page."""
    title: str
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    """Labels and values."""
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Drawing] = ()
    pictures: Sequence[Picture] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """The files with every row of tables, by their names; of others: tables/<name>.csv."""
    parts: Sequence["ReportSection"] = ()
    """Sections inside it, after its own content."""
    optional: bool = False
    """Whether it is no loss where it has nothing to show."""

    def full_file(self, table: Table) -> str:
        """The file that has all rows of ``table``."""
        return self.files.get(table.name, f"tables/{table.name}.csv")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show but perhaps ``text``, which then says why."""
        drawn = any(plot.draw is not None for plot in self.plots)
        filled = self.facts or self.sentences or self.tables or self.pictures or drawn
        return not filled and all(part.is_empty for part in self.parts)

    @property
    def all_parts(self) -> Iterator["ReportSection"]:
        """Itself and all sections inside it."""
        yield self
        for part in self.parts:
            yield from part.all_parts


@dataclass(frozen=True)
class RowDetails:
    """The runs behind one row of a table."""

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    """A line for each run, its cells in the order of ``columns``."""
    command: str = ""
    """The command line of one of them."""
    printed: Sequence[tuple[str, str]] = ()
    """Runs and the last lines of their standard error."""
    more: int = 0
    """Number of runs that did not fit."""


@dataclass(frozen=True)
class Report:
    """A title, a first screen and sections."""

    title: str
    first: FirstScreen
    sections: Sequence[ReportSection]
    """Those that have something to show."""
    left_out: Sequence[str] = ()
    """The titles of sections and plots that have nothing to show."""
    own_tables: Sequence[Table] = ()
    """The tables that the report adds to those of the analysis."""
    details: Mapping[str, Sequence[RowDetails]] = field(default_factory=dict)
    """What rows of tables open, by the table's name."""

    @property
    def parts(self) -> Iterator[ReportSection]:
        """All sections and the sections inside them."""
        for section in self.sections:
            yield from section.all_parts

    @property
    def plots(self) -> list[Drawing]:
        """Every plot."""
        return [*self.first.plots, *(plot for part in self.parts for plot in part.plots)]

    @property
    def drawn(self) -> list[Drawing]:
        """The plots that have something to show."""
        return [plot for plot in self.plots if plot.draw is not None]
