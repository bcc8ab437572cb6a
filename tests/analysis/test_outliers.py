"""The outlier rule: what it flags, what it leaves, and that nothing is taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.rows_maker import ddp
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.sentences import outliers
from weather_hpc.analysis.statistics import find_outliers


def test_the_rule_by_hand() -> None:
    # median 100, distances 4, 2, 0, 3, 60: MAD 3, score 0.6745 x 60 / 3
    (found,) = find_outliers([96.0, 98.0, 100.0, 103.0, 160.0])
    assert (found.position, found.value, found.median) == (4, 160.0, 100.0)
    assert found.score == pytest.approx(13.49)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0, 1.0, 1.0, 900.0],  # four repeats tell too little
        [92.0, 92.0, 92.0, 93.0, 92.0],  # whole seconds
        [96.0, 98.0, 100.0, 103.0, 108.0],
        [0.0] * 6,
    ],
)
def test_no_outlier(values: list[float]) -> None:
    assert find_outliers(values) == []


def test_equal_repeats_do_not_hide_one_that_is_not() -> None:
    assert [found.value for found in find_outliers([92.0, 92.0, 300.0, 92.0, 92.0])] == [300.0]


@given(st.lists(st.floats(0.1, 1e4), max_size=30), st.floats(0.001, 1000))
def test_units_do_not_matter_and_half_are_never_outliers(
    values: list[float], factor: float
) -> None:
    found = find_outliers(values)
    assert len(found) <= len(values) / 2
    clear = [o for o in found if o.score > 3.6]
    scaled = {o.position for o in find_outliers([value * factor for value in values])}
    assert {o.position for o in clear} <= scaled


def test_an_outlier_is_told_and_kept() -> None:
    rows = ddp(2, [10.0, 10.1, 9.9, 30.0, 10.2])
    (row,) = compare(rows).training.table.rows
    assert (row["runs"], row["time_s"], row["time_s_high"]) == (5, 10.1, 30.0)
    assert "1 of 5 outlying: 30 s" in row["note"]
    ((run, found),) = outliers(compare(rows))
    assert (run.run_id, found.value) == (rows[3].run_id, 30.0)
