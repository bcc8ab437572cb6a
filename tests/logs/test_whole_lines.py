"""Whole lines read by the block give the values that they give one by one."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs.maker import epoch_line
from weather_hpc.errors import UserError
from weather_hpc.logs import formats
from weather_hpc.logs.line_reader import LineReader
from weather_hpc.logs.log_format import LogFormat

(STUDY,) = formats(["study"])

NUMBERS = st.one_of(
    st.integers(0, 12).map(str),
    st.floats(0, 1e4).map(lambda x: f"{x:.3f}"),
    st.sampled_from(["nan", "1.2.3", "-1.0", "1e3", "007", "0.5%", "4.1s", ".5", "1_0", "٥"]),
    st.sampled_from(["", "0.5 %", "9" * 12]),
)  # fmt: skip
LINES = st.one_of(
    st.builds(
        lambda rank, epoch, loss: epoch_line(rank, epoch, loss=f"{loss:.3f}"),
        st.integers(0, 3), st.integers(0, 6), st.floats(0, 9),
    ),
    st.builds(
        "Rank: {} || Epoch: {} || Loss: {} || Accuracy: {} || Time: {}".format,
        NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    ),
    st.sampled_from(["", " ", "81.5", "[##] | 20% Completed | 1.0 ms libpng warning", "Killed"]),
    st.text(max_size=12),
)  # fmt: skip
DISGUISES = st.sampled_from(
    [
        lambda line: line,
        lambda line: line.replace(" || ", "\t"),
        lambda line: line.replace(" || ", ", "),
        lambda line: "[rank2]: " + line,
        lambda line: line + " ",
        lambda line: line[:-9],
        str.upper,
    ]
)


def _both(form: LogFormat, block: bytes) -> list[LineReader]:
    tallies = [LineReader(form), LineReader(replace(form, whole_line=None))]
    for tally in tallies:
        tally.feed(block, ended=True)
        tally.close()
    return tallies


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LINES, DISGUISES), max_size=12))
def test_whole_lines_are_read_as_line_by_line(lines: list) -> None:  # type: ignore[type-arg]
    block = "\n".join(disguise(line) for line, disguise in lines).encode("utf-8", "replace")
    fast, general = _both(STUDY, block)
    for name in ("totals", "total_lines", "facts", "torn", "torn_example", "failure", "held"):
        # as text, since NaN is not equal to itself
        assert repr(getattr(fast, name)) == repr(getattr(general, name)), name
    assert sorted(map(repr, fast.ranks.items())) == sorted(map(repr, general.ranks.items()))


def test_the_studys_lines_are_read_as_whole_lines() -> None:
    lines = [epoch_line(rank, epoch) for epoch in range(5) for rank in range(2)]
    lines[4] = lines[4].replace(" || ", "\t")
    fast, general = _both(STUDY, "\n".join(["noise", *lines, "81.5"]).encode())
    assert (fast.whole_lines, general.whole_lines) == (10, 0)
    assert fast.ranks == general.ranks


@pytest.mark.parametrize(
    ("exact", "message"),
    [
        ("e (?P<epoch>\\d+)\\s(?P<loss>\\d+)", "\\s matches the end of a line too"),
        ("e (?P<loss>\\d+)", "needs group epoch"),
        ("e (?P<epoch>\\d+) (?P<model>\\d+)", "allows only rank, epoch, loss"),
        ("e (?P<epoch>\\d+) a (?P<loss>\\d+)", "exact reads 'e 1 a 2 l 3' differently than lines"),
    ],
)
def test_a_wrong_exact_expression_is_a_clear_error(
    tmp_path: Path, exact: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"lines: 'e (?P<epoch>\\d+) a \\d+ l (?P<loss>\\d+)'\nexact: '{exact}.*'\n"
    )
    with pytest.raises(UserError) as error:
        LineReader(formats([str(tmp_path / "mine.yaml")])[0]).feed(b"e 1 a 2 l 3", ended=True)
    assert message in str(error.value)
