"""POP's factors: of one run, over repeats, against the baseline; and the slowest rank."""

from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, packing
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.pop import imbalances, pop_table
from weather_hpc.runs.row import Row


def computed(rows: list[Row], *ranks: float, host: str = "node1", **values: Any) -> list[Row]:
    """``rows``, whose ranks computed so many seconds."""
    slowest = max(range(len(ranks)), key=ranks.__getitem__)
    named = {"slowest_rank": slowest, "slowest_host": host} if len(ranks) > 1 else {}
    known = {"computation_sum_s": sum(ranks), "computation_max_s": max(ranks)}
    size = {"world_size_actual": len(ranks)}
    return [replace(row, **{**known, **named, **size, **values}) for row in rows]


def single(time_s: float, computation_s: float, **values: Any) -> list[Row]:
    alone = ddp(1, [time_s], strategy="single", **values)
    return computed(alone, computation_s)


def factors(rows: list[Row]) -> list[dict[str, Any]]:
    return pop_table(compare(rows)).rows


def test_the_factors_of_one_run_multiply() -> None:
    alone, two = factors([*single(100, 90), *computed(ddp(2, [80]), 30, 60)])
    assert (two["table"], two["workers"], two["runs"]) == ("training", 2, 1)
    assert two["load_balance"] == pytest.approx(45 / 60)
    assert two["communication_efficiency"] == pytest.approx(60 / 80)
    assert two["parallel_efficiency"] == pytest.approx(45 / 60 * 60 / 80)
    assert two["computation_scaling"] == pytest.approx(1)
    assert two["global_efficiency"] == pytest.approx(45 / 60 * 60 / 80)
    assert two["computation_s"] == 90
    assert two["load_balance_low"] is None, "one run has no interval"
    assert (two["slowest_rank"], two["slowest_host"], two["slowest_in_runs"]) == (1, "node1", 1)
    assert two["slowest_excess"] == pytest.approx(60 / 45 - 1)
    assert two["baseline"].startswith("single")
    assert (alone["load_balance"], alone["computation_scaling"]) == (1, 1)
    assert alone["communication_efficiency"] == alone["global_efficiency"] == pytest.approx(0.9)
    assert alone["slowest_rank"] is alone["slowest_host"] is alone["slowest_in_runs"] is None


def test_more_computation_than_the_baselines_is_a_scaling_below_1() -> None:
    _, two = factors([*single(100, 90), *computed(ddp(2, [80]), 75, 75)])
    assert two["load_balance"] == 1
    assert two["computation_scaling"] == pytest.approx(90 / 150)
    assert two["global_efficiency"] == pytest.approx(90 / 160)
    assert two["global_efficiency"] == pytest.approx(
        two["computation_scaling"] * two["parallel_efficiency"]
    )


def test_weak_scaling_compares_computation_per_image() -> None:
    alone = single(100, 90, scaling="weak", images_asked=1000)
    two = computed(ddp(2, [100], scaling="weak", images_asked=2000), 90, 90)
    assert factors([*alone, *two])[1]["computation_scaling"] == pytest.approx(1)
    assert factors([*alone, *two])[1]["global_efficiency"] == pytest.approx(0.9)


def test_repeats_give_medians_with_intervals_and_the_rank_that_is_mostly_slowest() -> None:
    first, second, third = ddp(2, [80, 80, 80])
    rows = [
        *computed([first], 30, 60),
        *computed([second], 40, 60),
        *computed([third], 60, 50, host="node2"),
    ]
    (two,) = factors(rows)
    assert two["runs"] == 3
    assert two["load_balance"] == pytest.approx(100 / 120)
    assert (two["load_balance_low"], two["load_balance_high"]) == pytest.approx((0.75, 110 / 120))
    assert (two["slowest_rank"], two["slowest_host"], two["slowest_in_runs"]) == (1, "node1", 2)
    assert two["slowest_excess"] == pytest.approx((60 / 45 + 60 / 50) / 2 - 1)
    assert two["computation_scaling"] is two["global_efficiency"] is two["baseline"] is None


def test_the_baselines_own_global_efficiency_is_its_parallel_efficiency() -> None:
    times = (100, 110, 120)
    rows = [row for time_s, one in zip(times, (90, 100, 115), strict=True) for row in
            computed(ddp(1, [time_s], strategy="single"), one)]  # fmt: skip
    (alone,) = factors(rows)
    assert alone["runs"] == 3
    for end in ("", "_low", "_high"):
        assert alone[f"global_efficiency{end}"] == alone[f"parallel_efficiency{end}"]
    assert (alone["computation_scaling"], alone["computation_scaling_low"]) == (1, None)


def test_what_is_not_known_is_left_out_and_never_0() -> None:
    unknown = ddp(2, [80])
    assert factors([*single(100, 90), *unknown])[1:] == []
    partly = [*unknown, *computed(ddp(2, [81]), 30, 60)]
    (two,) = factors(partly)
    assert (two["runs"], two["communication_efficiency"]) == (1, pytest.approx(60 / 81))
    assert factors(computed(ddp(2, [80]), 0, 0)) == [], "no rank has computed: nothing to divide"


def test_a_low_load_balance_is_a_sentence_and_a_good_one_is_not() -> None:
    rows = [
        *single(100, 90),
        *computed(ddp(2, [80]), 30, 60, host="node<7>"),
        *computed(ddp(4, [40]), 38, 38, 39, 40),
        *computed(packing("dask", 2, [30]), 20, 10),
    ]
    packed, trained = imbalances(pop_table(compare(rows)))
    longer = "computes 33 % longer than the mean (slowest in 1 of 1 run)."
    assert packed == f"Load balance 0.75 with dask, 2 workers: worker 0 on node1 {longer}"
    ddp_2 = "ddp on cuda, 2 ranks, batch 32"
    assert trained == f"Load balance 0.75 with {ddp_2}: rank 1 on node<7> {longer}"


def test_of_many_uneven_configurations_the_worst_are_named() -> None:
    rows = [
        row
        for size in (2, 4, 8, 16)
        for row in computed(ddp(size, [80]), *([20.0] * (size - 1)), 60)
    ]
    sentences = imbalances(pop_table(compare(rows)))
    assert [text[:17] for text in sentences] == [
        "Load balance 0.38", "Load balance 0.42", "Load balance 0.50",
    ]  # fmt: skip
