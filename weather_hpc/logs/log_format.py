"""LogFormat: what is read from which lines of a text log, as one compiled regular expression."""

import re
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic import Field as Option

from weather_hpc.errors import UserError, nearest
from weather_hpc.logs.fields import Field, field, known
from weather_hpc.logs.lines import UnmatchedShapes
from weather_hpc.logs.prefixes import PREFIX, RANK_GROUPS
from weather_hpc.logs.whole_lines import WHOLE_LINE_GROUPS, WholeLine
from weather_hpc.reading import is_file
from weather_hpc.study.yaml_file import OneOrMany, Section, load

SHIPPED = Path(__file__).parent / "formats"
COMMON = Path(__file__).parent / "common_lines.yaml"
"""Lines that all formats read but those with ``common: false``."""

GENERAL = ("study", "keywords", "preprocess")
"""The shipped formats without a signature, which any log may have; the first is fastest."""

_EMPTY = re.compile(r"\(\?P<(\w+)>\)")
_OVER_LINES = re.compile(r"\\[sWDn]|\[\^")
_GROUP = re.compile(r"\(\?P(<|=)(\w+)(>|\))|\(\?\(([A-Za-z_]\w*)\)")


def _filled(empty: re.Match[str]) -> str:
    kept = field(empty[1])
    return f"(?P<{empty[1]}>{kept.text})" if kept else empty[0]


def _readable(source: str) -> str:
    """Check one regular expression of a user; its empty groups take their field's usual text."""
    source = _EMPTY.sub(_filled, source)
    try:
        compiled = re.compile(source.encode(), re.IGNORECASE)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"not a regular expression: {error.msg}{where}: {source}") from None
    except (RecursionError, OverflowError):
        raise ValueError(f"too large a regular expression: {source[:60]}") from None
    if source.startswith("(?") and re.match(r"\(\?[aiLmsux]+\)", source):
        raise ValueError(f"remove the flags {source[:4]}: case is ignored anyway")
    if compiled.match(b""):
        raise ValueError(f"matches an empty line: {source}")
    if not compiled.groupindex:
        raise ValueError(f"has no named group such as (?P<epoch>\\d+): {source}")
    for name in compiled.groupindex:
        if field(name) is None:
            raise ValueError(f"group {name!r} is not a known field{nearest(name, known())}")
    names = [kept.name for name in compiled.groupindex if (kept := field(name))]
    if len(names) > len(set(names)):
        raise ValueError(f"one value is named twice: {', '.join(compiled.groupindex)}")
    return source


def _whole_line(source: str) -> str:
    """Check a user's expression for whole lines, the key ``exact``."""
    source = _readable(source)
    groups = re.compile(source.encode()).groupindex.keys()
    if not {"epoch"} <= groups <= WHOLE_LINE_GROUPS:
        raise ValueError(
            f"needs group epoch and allows only {', '.join(WHOLE_LINE_GROUPS)}: {source}"
        )
    if wide := _OVER_LINES.search(source):
        raise ValueError(f"{wide[0]} matches the end of a line too; name the characters: {source}")
    return source


class LineRule(Section):
    """One kind of line: a regular expression, and lines that it must match."""

    regex: Annotated[str, AfterValidator(_readable)] = Option(
        description="regular expression with named groups; case is ignored"
    )
    example: OneOrMany[str] | None = Option(None, description="lines that it matches")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for line in self.example or ():
            if not re.match(self.regex.encode(), line.encode(), re.IGNORECASE):
                raise ValueError(f"does not match its example {line!r}: {self.regex}")
        return self


def _as_rule(line: Any) -> Any:
    """A regular expression alone is a rule without an example."""
    return {"regex": _readable(line)} if isinstance(line, str) else line


def _signature(source: str) -> str:
    """Check an expression that is searched for anywhere in a line."""
    try:
        re.compile(source.encode())
    except re.error as error:
        raise ValueError(f"not a regular expression: {error.msg}: {source}") from None
    return source


class FormatFile(Section):
    """A format as it is written in YAML."""

    title: str | None = Option(None, description="the program or library that prints it")
    signature: OneOrMany[Annotated[str, AfterValidator(_signature)]] | None = Option(
        None,
        description="regular expression, case kept, of what only logs of this format contain; or "
        "several, one of which they do",
    )
    lacks: str | None = Option(
        None, description="what such a log does not tell, and how to have it"
    )
    lines: OneOrMany[Annotated[LineRule, BeforeValidator(_as_rule)]] = Option(
        description="regular expressions with named groups, each for one kind of line; or pairs of "
        "regex and example"
    )
    first_epoch: Literal[0, 1] | None = Option(None, description="what epochs count from")
    accumulates: bool = Option(
        False,
        description="whether a step may take several batches of each device, whose number is not "
        "printed",
    )
    times_from_start: bool = Option(
        False, description="whether each epoch's time counts from the run's start"
    )
    total_per_rank: bool = Option(False, description="whether every rank prints the total")
    only_first_rank: bool = Option(False, description="whether rank 0 alone prints, for all ranks")
    marker: str | None = Option(
        None, min_length=3, description="text that only lines with values contain, case kept"
    )
    exact: Annotated[str, AfterValidator(_whole_line)] | None = Option(
        None, description="the most frequent line with values, whole and as printed; only for speed"
    )
    library: bool = Option(
        False,
        description="whether it is of a library, whose lines stand among those of the program that "
        "uses it: it is not chosen where another format reads epochs, or has its signature there",
    )
    stage: Literal["train", "preprocess"] = Option("train", description="what the run did")
    common: bool = Option(
        True,
        description="whether lines that many programs print are read too: the total, where no "
        "expression of the format names it, and the numbers of ranks and devices",
    )


@dataclass(frozen=True)
class Kind:
    """One kind of line: its fields, by the number of their group."""

    fields: tuple[tuple[Field, int], ...]

    def group(self, name: str, never: int) -> int:
        """The group that holds ``name``; ``never``, one that never matches, where none does."""
        return next((group for kept, group in self.fields if kept.name == name), never)


@dataclass(frozen=True)
class LogFormat:
    """A named way to print values, ready to be matched against the start of lines.

    Its lines are compiled when they are first needed: most formats are of no log at hand.
    """

    name: str
    file: FormatFile
    whole_line: WholeLine | None
    """The most frequent line with values, where the format has one (its key ``exact``)."""

    @cached_property
    def signatures(self) -> list[re.Pattern[bytes]]:
        """Of which one is found in every log of this format; none: any log may have it."""
        return [re.compile(source.encode()) for source in self.file.signature or ()]

    def is_found(self, block: bytes) -> bool:
        """Whether ``block`` holds what only logs of this format do."""
        return any(signature.search(block) for signature in self.signatures)

    @cached_property
    def rules(self) -> list[LineRule]:
        """All kinds of line."""
        return [*self.file.lines, *(_common(self.file) if self.file.common else ())]

    @cached_property
    def regex(self) -> re.Pattern[bytes]:
        """All of the lines as one regular expression."""
        parts = []
        for number, rule in enumerate(self.rules):
            # two lines may both name a group: each gets the line's number
            renamed = _GROUP.sub(partial(_numbered, number), rule.regex)
            parts.append(f"(?P<line{number}>{renamed})".encode())
        parts.append(b"(?P<never>(?!))")
        return re.compile(PREFIX + b"(?:" + b"|".join(parts) + b")", re.IGNORECASE)

    @cached_property
    def kinds(self) -> dict[int, Kind]:
        """By ``lastindex`` of a match."""
        groups = self.regex.groupindex
        kinds: dict[int, Kind] = {}
        for number in range(len(self.rules)):
            fields = tuple(
                (kept, index)
                for group, index in groups.items()
                if group.startswith(f"g{number}_") and (kept := field(group.partition("_")[2]))
            )
            kinds[groups[f"line{number}"]] = Kind(fields)
        return kinds

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """The groups in which a launcher's prefix gives the rank."""
        return tuple(self.regex.groupindex[group] for group in RANK_GROUPS)

    @cached_property
    def never(self) -> int:
        """A group that never matches."""
        return self.regex.groupindex["never"]

    @cached_property
    def unmatched(self) -> UnmatchedShapes:
        """Shapes of lines in which it found nothing, in whatever log."""
        return UnmatchedShapes(self.regex.pattern, (self.file.marker or "").encode())

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process compiles it again."""
        return compiled, (self.name, self.file)


def compiled(name: str, file: FormatFile) -> LogFormat:
    """``file`` as a LogFormat."""
    return LogFormat(name, file, None if file.exact is None else WholeLine.compiled(file.exact))


def _common(file: FormatFile) -> list[LineRule]:
    """The lines that many programs print.

    Where ``file`` has a total of its own, theirs is the outer one, which counts if there is none.
    """
    own = "".join(rule.regex for rule in file.lines)
    if "(?P<stopped" in own:
        return [rule for rule in _common_lines() if "(?P<total" not in rule.regex]
    if "(?P<total" in own:
        return [
            rule.model_copy(update={"regex": rule.regex.replace("(?P<total", "(?P<outer")})
            for rule in _common_lines()
        ]
    return _common_lines()


@cache
def _common_lines() -> list[LineRule]:
    return load(COMMON, FormatFile).lines


def _numbered(number: int, match: re.Match[str]) -> str:
    if match[4]:
        return f"(?(g{number}_{match[4]})"
    return f"(?P{match[1]}g{number}_{match[2]}{match[3]}"


@cache
def shipped() -> dict[str, Path]:
    """The formats that come with the package: those of any log, then those of one program each."""
    files = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    return {**{name: files.pop(name) for name in GENERAL}, **files}


@cache
def _shipped(name: str) -> LogFormat:
    return compiled(name, load(shipped()[name], FormatFile))


def formats(names: list[str] | tuple[str, ...] = ()) -> list[LogFormat]:
    """The formats called ``names``, each a shipped one's name or a YAML file; none: all shipped.

    Raises UserError with file, line and key for a format that cannot be used.
    """
    chosen = []
    for name in names or shipped():
        if name in shipped():
            chosen.append(_shipped(name))
            continue
        path = Path(name)
        if not is_file(path):
            stem = path.name.removesuffix(".yaml")
            raise UserError(
                f"--format {name}: no such file and no known format{nearest(stem, list(shipped()))}"
            )
        chosen.append(compiled(path.stem, load(path, FormatFile)))
    return chosen
