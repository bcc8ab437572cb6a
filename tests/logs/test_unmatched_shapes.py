"""Lines are skipped by their shape only where no expression would match them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weather_hpc.logs.line_reader import LineReader
from weather_hpc.logs.lines import (
    LONGEST_SHAPE,
    MOST_SHAPES,
    UnmatchedShapes,
    different_lines,
)
from weather_hpc.logs.log_format import formats

STUDY = formats(["study"])[0]

LINES = [
    "Rank: 0 || Epoch: 12 || Loss: 1.537 || Accuracy: 0.52 || Time: 4.51",
    "Epoch 3/20 - 4s - loss: 0.51 - accuracy: 0.82", "Test acc@1 71.3 top-1 9",
    "(6862, 256, 256, 3)", "[##   ] | 41% Completed | 213.40 ms libpng",
    "34%|###4      | 17/50 [00:03<00:07]",
    "[rank1]: 91.25", "2023-05-01 12:00:00 INFO nothing", "multiprocessing, 4 workers: 12.3 s",
    "slurmstepd: error: *** STEP 41.0 ON n01 CANCELLED AT 2023-05-01 DUE TO TIME LIMIT ***",
]  # fmt: skip


@given(line=st.sampled_from(LINES), data=st.data())
def test_lines_of_one_shape_are_matched_all_or_not_at_all(line: str, data: st.DataObject) -> None:
    digit = st.sampled_from("0123456789")
    one = re.sub(r"\d", lambda _: data.draw(digit), line).encode()
    for form in formats():
        table = form.unmatched.table
        alike = [bytes([c for c in b"0123456789" if table[c] == table[d]]) for d in one]
        other = bytes(
            data.draw(st.sampled_from(same)) if chr(old).isdigit() else old
            for old, same in zip(one, alike, strict=True)
        )
        assert one.translate(table) == other.translate(table)
        assert (form.regex.match(one) is None) is (form.regex.match(other) is None)


def test_a_line_that_differs_in_a_digit_that_matters_is_read() -> None:
    tally = LineReader(STUDY)
    tally.feed(b"(91, 5, 5, 5)\n(92, 5, 5, 7)\n(93, 5, 5, 3)", ended=True)
    assert tally.fact("images") == 93
    assert b"(91, 5, 5, 5)".translate(STUDY.unmatched.table) in STUDY.unmatched.shapes


def test_shapes_are_few_and_short() -> None:
    unmatched = UnmatchedShapes(b"x")
    unmatched.add(b"1" * (LONGEST_SHAPE + 1))
    assert not unmatched.shapes
    for number in range(MOST_SHAPES + 1):
        unmatched.add(b"%x" % number)
    assert 0 < len(unmatched.shapes) <= MOST_SHAPES
    assert unmatched.shapes >= {(b"%x" % MOST_SHAPES).translate(unmatched.table)}


@pytest.mark.parametrize(
    ("source", "apart"),
    [
        (rb"epoch \d{1,9} [0-9.]+(?P<g0_loss>\d)(?(g0_loss)x)", b""),
        (rb"acc@1|top-?5", b"15"),
        (rb"[134]", b"134"),
        (rb"[1-4]", b"1234"),
        (rb"[1-9]", b"019"),
        (rb"[+-9]", b"9"),
        (rb"[+-3]", b"0123"),
        (b"(?x: x\n # the top-5 of [0-9]\n y)", b""),
        (rb"(?P<a>\d)(?P=a)", b"0123456789"),
        (rb"(\d)\1", b"0123456789"),
        (rb"\x31", b"0123456789"),
        (rb"\x08", b""),
    ],
)
def test_digits_that_an_expression_distinguishes_are_kept(source: bytes, apart: bytes) -> None:
    table = UnmatchedShapes(source).table
    digits = b"0123456789"
    assert bytes(d for d in digits if digits.translate(table).count(table[d]) == 1) == apart


def test_shipped_formats_distinguish_few_digits() -> None:
    for form in formats():
        few = {form.unmatched.table[digit] for digit in b"0123456789"}
        assert len(few) <= 6, form.name


def test_lines_that_differ_in_numbers_alone_are_searched_once() -> None:
    block = b"step 12 of 9\nstep 34 of 8\nepoch 5: 1\nepoch 6: 2\n"
    assert different_lines(block, rb"step \d+").count(b"step") == 1
    kept = different_lines(block, rb"epoch 5: \d")
    assert b"epoch 5: " in kept
    assert kept.count(b"epoch") == 2
