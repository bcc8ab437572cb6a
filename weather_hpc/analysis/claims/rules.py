"""Claims about parallel performance, read from YAML: a sentence each, and rules over rows.

``results/paper/claims.yaml`` holds those of the reproduced study; docs/how-to/claims.md describes
the form. A rule selects configurations by their columns in ``rows.csv`` and says what is claimed of
their times.
"""

import difflib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from weather_hpc.analysis.published import folder
from weather_hpc.runs.row import ROW_COLUMNS, Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.yaml_file import Section, load

COMPUTED = ("speedup", "efficiency")
"""Columns of the scaling tables that a rule of kind ``value`` may name too."""


class Kind(StrEnum):
    """What a rule claims of the configurations that it selects."""

    FASTER = "faster"
    """Each of ``of`` takes less time than its counterpart in ``than``."""
    RATIO = "ratio"
    """Each of ``of`` is so many times as fast as its counterpart in ``than``."""
    FASTEST = "fastest"
    """``expected`` takes less time than all others of ``of``."""
    SLOWEST = "slowest"
    """``expected`` takes more time than all others of ``of``."""
    TIME_FALLS = "time_falls"
    """Every step ``along`` a column takes less time than the one before."""
    TIME_RISES = "time_rises"
    """Every step ``along`` a column takes more time than the one before."""
    TIME_FLAT = "time_flat"
    """``along`` a column all times are equal ``within`` a fraction."""
    VALUE = "value"
    """A ``column`` of each of ``of`` is ``between`` two bounds."""


_KEYS: dict[Kind, tuple[set[str], set[str]]] = {
    Kind.FASTER: ({"than"}, {"best_over", "match"}),
    Kind.RATIO: ({"than", "between"}, {"best_over", "match"}),
    Kind.FASTEST: ({"expected"}, set()),
    Kind.SLOWEST: ({"expected"}, set()),
    Kind.TIME_FALLS: ({"along"}, set()),
    Kind.TIME_RISES: ({"along"}, set()),
    Kind.TIME_FLAT: ({"along", "within"}, set()),
    Kind.VALUE: ({"column", "between"}, set()),
}
"""The keys that each kind needs, and those that it may have, besides kind, stage and of."""


@dataclass(frozen=True)
class Choice:
    """The values of a column that a selection accepts."""

    values: tuple[str | int | float, ...] = ()
    low: float | None = None
    high: float | None = None
    """With no values: everything from ``low`` to ``high``, None being no bound."""

    def accepts(self, value: object) -> bool:
        """Whether a row with ``value`` is selected; a missing value never is."""
        if self.values:
            return value in self.values
        if not isinstance(value, int | float):
            return False
        return not (
            (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
        )


def _choice(value: Any) -> Choice:
    """``8``, ``[1, 2]`` or ``{from: 2, to: 16}`` as a Choice."""
    if isinstance(value, dict):
        if not value or set(value) - {"from", "to"}:
            raise ValueError("expected a value, a list, or a range {from: 2, to: 16}")
        if not all(_is_number(bound) for bound in value.values()):
            raise ValueError("expected numbers as the ends of a range")
        return Choice(low=value.get("from"), high=value.get("to"))
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, str) or _is_number(v) for v in values):
        raise ValueError("expected a value, a list, or a range {from: 2, to: 16}")
    return Choice(tuple(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _column(name: str) -> str:
    if name not in ROW_COLUMNS:
        close = difflib.get_close_matches(name, ROW_COLUMNS, n=1)
        raise ValueError("expected a column of rows.csv" + "".join(f", such as {c}" for c in close))
    return name


def _measure(name: str) -> str:
    return name if name in COMPUTED else _column(name)


_TEXT = {name for name, field in Row.__dataclass_fields__.items() if "str" in str(field.type)}


def _typed(selection: dict[str, Choice]) -> dict[str, Choice]:
    """Refuse text for a number and the reverse, which would select nothing."""
    for name, choice in selection.items():
        known = Row.__dataclass_fields__[name].type
        if known is Any:
            continue
        texts = [isinstance(value, str) for value in choice.values] or [False]
        if all(texts) != any(texts) or all(texts) != (name in _TEXT):
            kind = "text" if name in _TEXT else "a number"
            raise ValueError(f"column {name} holds {kind}")
    return selection


Column = Annotated[str, AfterValidator(_column)]
Selection = Annotated[
    dict[Column, Annotated[Choice, BeforeValidator(_choice)]], AfterValidator(_typed)
]
"""Columns of rows and the values that are selected. Of a column that is not named, all are."""

Bounds = tuple[float | None, float | None]


class Rule(Section):
    """What is claimed of the configurations of one stage that the selections describe."""

    kind: Kind
    stage: Stage
    of: Selection = Field(description="the configurations that the rule is about")
    than: Selection | None = Field(None, description="those that they are compared with")
    expected: Selection | None = Field(None, description="which of them is fastest or slowest")
    along: Column | None = Field(None, description="the column that is stepped along")
    within: Annotated[float, Field(gt=0)] | None = Field(
        None, description="largest relative difference between two times that count as equal"
    )
    column: Annotated[str, AfterValidator(_measure)] | None = None
    between: Bounds | None = Field(None, description="lowest and highest value; null: no bound")
    best_over: list[Column] = Field(
        [], description="on each side, only the fastest over these columns is compared"
    )
    match: list[Column] = Field(
        [], description="columns that must be equal in a pair, instead of the batch size"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        needed, allowed = _KEYS[self.kind]
        given = self.model_fields_set - {"kind", "stage", "of"}
        for name in sorted(needed - given):
            raise ValueError(f"kind {self.kind} needs the key {name!r}")
        for name in sorted(given - needed - allowed):
            raise ValueError(f"kind {self.kind} has no key {name!r}")
        if self.stage is Stage.PREPARE:
            raise ValueError("stage prepare is not measured")
        if self.between is not None:
            low, high = self.between
            if low is None and high is None:
                raise ValueError("between needs a bound that is not null")
            if low is not None and high is not None and low > high:
                raise ValueError("between needs its lower bound first")
        if self.kind is Kind.VALUE and self.column in _TEXT:
            raise ValueError(f"column {self.column} holds text")
        return self

    @property
    def free(self) -> set[str]:
        """The columns in which the configurations of one pair differ.

        Those to which the two selections give different values, those of ``expected``, the one
        stepped along, and those that the best is sought over. All other settings of a pair are
        equal.
        """
        if self.along is not None:
            return {self.along}
        if self.expected is not None:
            return set(self.expected)
        other = self.than or {}
        named = {*self.of, *other}
        return {n for n in named if self.of.get(n) != other.get(n)} | set(self.best_over)


class Claim(Section):
    """One sentence, and the rules that must all hold for it to hold."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    sentence: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1, description="table or section that it is from")]
    rules: Annotated[list[Rule], Field(min_length=1)]


class ClaimsFile(Section):
    """A file of claims."""

    source: Annotated[str, Field(min_length=1, description="who claims it, for the report")]
    published: bool = Field(
        False, description="whether these are the conclusions of the study in results/paper"
    )
    claims: Annotated[list[Claim], Field(min_length=1)]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        seen: set[str] = set()
        for claim in self.claims:
            if claim.id in seen:
                raise ValueError(f"two claims have the id {claim.id!r}")
            seen.add(claim.id)
        return self


def published_claims() -> Path:
    """The file of the reproduced study's claims."""
    return folder() / "claims.yaml"


def load_claims(path: Path) -> ClaimsFile:
    """The claims in the YAML file ``path``.

    Raises UserError with file, line, key and what is expected.
    """
    return load(path, ClaimsFile)
