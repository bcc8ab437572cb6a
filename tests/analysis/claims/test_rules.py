"""Files of claims: what is accepted, and what the errors say."""

from pathlib import Path

import pytest

from weather_hpc.analysis.claims.rules import Choice, load_claims, published_claims
from weather_hpc.errors import UserError

GOOD = """\
source: us
claims:
  - id: more-is-faster
    sentence: Two are faster than one.
    about: our notes
    rules:
      - kind: faster
        stage: train
        of: {strategy: ddp, workers: 2}
        than: {strategy: ddp, workers: 1}
"""


def error_of(tmp_path: Path, old: str, new: str) -> str:
    assert old in GOOD
    path = tmp_path / "claims.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_claims(path)
    return str(caught.value).removeprefix(f"{path}:")


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(GOOD)
    (claim,) = load_claims(path).claims
    (rule,) = claim.rules
    assert rule.free == {"workers"}
    assert rule.of["workers"] == Choice((2,))


def test_the_studys_claims_are_valid_and_name_every_table() -> None:
    file = load_claims(published_claims())
    assert file.published
    assert 15 <= len(file.claims) <= 20
    stages = {rule.stage for claim in file.claims for rule in claim.rules}
    assert stages == {"preprocess", "array", "train"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: faster", "kind: fster", "7: claims[0].rules[0].kind: 'fster' is no choice"),
        ("stage: train", "stage: trian", "8: claims[0].rules[0].stage: 'trian' is no choice"),
        ("stage: train", "stage: prepare", "7: claims[0].rules[0]: stage prepare is not measured"),
        ("than:", "then:", "10: claims[0].rules[0]: unknown key 'then'"),
        ("{strategy: ddp, workers: 2}", "{strategy: ddp, workrs: 2}",
         "9: claims[0].rules[0].of.workrs: expected a column of rows.csv, such as workers"),
        ("workers: 2}", "workers: two}", "9: claims[0].rules[0].of: column workers holds a number"),
        ("workers: 2}", "workers: [1, two]}", "9: claims[0].rules[0].of: column workers holds"),
        ("strategy: ddp, workers: 2", "strategy: 2", "of: column strategy holds text"),
        ("workers: 2}", "workers: {form: 2}}", "9: claims[0].rules[0].of.workers: expected a"),
        ("workers: 2}", "workers: {from: a}}", "expected numbers as the ends of a range"),
        ("workers: 2}", "workers: []}", "9: claims[0].rules[0].of.workers: expected a"),
        ("        than: {strategy: ddp, workers: 1}\n", "",
         "7: claims[0].rules[0]: kind faster needs the key 'than'"),
        ("stage: train", "stage: train\n        along: workers",
         "7: claims[0].rules[0]: kind faster has no key 'along'"),
        ("id: more-is-faster", "id: More is faster", "3: claims[0].id"),
        ("    about: our notes\n", "", "3: claims[0].about: is missing"),
    ],
)  # fmt: skip
def test_errors_name_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in error_of(tmp_path, old, new)


@pytest.mark.parametrize(
    ("between", "message"),
    [
        ("[null, null]", "between needs a bound that is not null"),
        ("[2, 1]", "between needs its lower bound first"),
        ("[1]", "8: claims[0].rules[0].between[1]: is missing"),
        ("[a, 1]", "between[0]"),
    ],
)
def test_bounds_are_checked(tmp_path: Path, between: str, message: str) -> None:
    new = f"kind: ratio\n        between: {between}"
    assert message in error_of(tmp_path, "kind: faster", new)


def test_an_id_is_unique(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(GOOD + GOOD[GOOD.index("  - id") :])
    with pytest.raises(UserError, match="two claims have the id 'more-is-faster'"):
        load_claims(path)


@pytest.mark.parametrize(
    ("choice", "value", "accepted"),
    [
        (Choice((1, 2)), 2, True),
        (Choice((1, 2)), 3, False),
        (Choice(low=2), 2, True),
        (Choice(low=2), 1, False),
        (Choice(high=8), 9, False),
        (Choice(low=2), None, False),
        (Choice(("ddp",)), None, False),
    ],
)
def test_what_a_selection_accepts(choice: Choice, value: object, accepted: bool) -> None:
    assert choice.accepts(value) is accepted
