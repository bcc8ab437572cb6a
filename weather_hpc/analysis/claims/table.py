"""Claims tested: what a study's own numbers and the runs here say of each of its conclusions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.claims.answers import Answer, Outcome, judge
from weather_hpc.analysis.claims.matching import Evidence
from weather_hpc.analysis.claims.rules import Claim, ClaimsFile
from weather_hpc.analysis.claims.words import listed
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.published import published_comparison
from weather_hpc.analysis.table import Table


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, tested on the study's own numbers and on the runs here."""

    claim: Claim
    published: Outcome
    here: Outcome


CLAIM_COLUMNS = [
    "claim", "sentence", "about", "published", "published_values", "here", "here_values",
    "ratio", "ratio_low", "ratio_high", "needed",
]  # fmt: skip

_CAPTION = (
    "published: what the study's own tables say of the sentence; they have one time for each "
    "configuration, compared as printed. here: what the runs of this collection say. ratio: how "
    "many times as fast the configuration is that the sentence says is faster, where the sentence "
    "is about two. In brackets: bootstrap intervals, from three runs on. not shown: the repeats "
    "leave it open; needed says what would decide. Runs with audit errors and weak scaling take no "
    "part. docs/how-to/claims.md has the rules."
)

_CAPTION_NEEDED = "published: as above. needed: the configurations that would have to be measured."


@dataclass(frozen=True)
class ClaimsTable(Table):
    """The claims as a table, with what is to be said of them."""

    source: str
    """Who claims them."""
    contradictions: tuple[str, ...]
    """A sentence for each conclusion that the study's own tables contradict, with the numbers."""
    findings: tuple[str, ...]
    """Key findings: how many claims hold here, and which ones the study itself contradicts."""

    @property
    def parts(self) -> list[Table]:
        """The rows with values from here, then the others, each with the columns that they need."""
        values = ["here", "here_values", "ratio", "ratio_low", "ratio_high"]
        columns = ["claim", "sentence", "published", "published_values", "needed"]
        measured = [row for row in self.rows if row["here_values"] is not None]
        others = [row for row in self.rows if row["here_values"] is None]
        parts = [
            Table(
                "claims_measured",
                "Measured here",
                _CAPTION,
                columns[:-1] + values + columns[-1:],
                measured,
            ),
            Table("claims_not_measured", "Not measured here", _CAPTION_NEEDED, columns, others),
        ]
        return [table for table in parts if table.rows]


def claims_table(claims: ClaimsFile, comparison: Comparison) -> ClaimsTable:
    """Each claim, tested by the reproduced study's numbers and by the runs of ``comparison``.

    Without rows where ``comparison`` has nothing that any of the claims compares.
    """
    published, here = Evidence(published_comparison(), printed=True), Evidence(comparison)
    judged = [
        JudgedClaim(claim, judge(claim, published), judge(claim, here)) for claim in claims.claims
    ]
    if not any(one.here.has_cases for one in judged):
        judged = []
    contradicted = [
        one for one in judged if claims.published and one.published.answer is Answer.FAILS
    ]
    return ClaimsTable(
        name="claims",
        title="The study's conclusions" if claims.published else "Claims",
        caption=_CAPTION,
        columns=CLAIM_COLUMNS,
        rows=[_row(one) for one in judged],
        source=claims.source,
        contradictions=tuple(map(_contradiction, contradicted)),
        findings=tuple(_findings(judged, contradicted, published=claims.published)),
    )


def _row(one: JudgedClaim) -> dict[str, Any]:
    low, high = one.here.interval
    return {
        "claim": one.claim.id,
        "sentence": one.claim.sentence,
        "about": one.claim.about,
        "published": str(one.published.answer),
        "published_values": one.published.values or None,
        "here": str(one.here.answer),
        "here_values": one.here.values or None,
        "ratio": one.here.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "needed": one.here.needed or None,
    }


_COUNTED = {
    Answer.HOLDS: ("holds", "hold"), Answer.FAILS: ("does not hold", "do not hold"),
    Answer.OPEN: ("is not shown", "are not shown"),
    Answer.MISSING: ("was not measured", "were not measured"),
}  # fmt: skip


def _findings(
    judged: Sequence[JudgedClaim], contradicted: Sequence[JudgedClaim], *, published: bool
) -> Iterator[str]:
    if not judged:
        return
    counts = Counter(one.here.answer for one in judged)
    words = [f"{n} {_COUNTED[a][n > 1]}" for a in Answer if (n := counts[a])]
    whose = "the study's" if published else "the"
    noun = "conclusions" if published else "claims"
    yield f"Of {whose} {len(judged)} {noun}, on these runs: {', '.join(words)}."
    failing = [_quoted(one) for one in judged if one.here.answer is Answer.FAILS]
    if failing:
        yield f"Does not hold here: {listed(failing)}."
    if contradicted:
        names = ", ".join(one.claim.id for one in contradicted)
        yield (
            f"The study's own tables contradict {len(contradicted)} of its {len(judged)} "
            f"{noun}: {names}."
        )


def _contradiction(one: JudgedClaim) -> str:
    return f"The study's own tables contradict {_quoted(one)}: {one.published.contradicting}."


def _quoted(one: JudgedClaim) -> str:
    return f"“{one.claim.sentence.removesuffix('.')}”"
