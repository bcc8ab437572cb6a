"""Advice: the choice, its figures, its doubt, and the reason where there is none."""

from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, packing
from weather_hpc.analysis.advice import ADVICE_COLUMNS, advice_table
from weather_hpc.analysis.advice_sentences import advice_sentences
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Row


def advice(rows: list[Row], **asked: Any) -> Table:
    return advice_table(compare(rows), **asked)


def answers(rows: list[Row], **asked: Any) -> dict[str, dict[str, Any]]:
    """The rows by the first word of their question; for one work only."""
    return {row["question"].split(" ")[0]: row for row in advice(rows, **asked).rows}


def priced(rows: list[Row]) -> list[Row]:
    """``rows`` with node-hours: on a node for every four workers, an hour for every second."""
    return [
        replace(row, node_hours=(1 + (row.workers or 1) // 5) * (row.time_s or 0)) for row in rows
    ]


ROWS = priced(
    [
        *ddp(1, [20.0, 20.2, 20.4]),
        *ddp(2, [11.0, 11.2, 11.1]),
        *ddp(4, [7.0, 7.3, 7.2]),
        *ddp(8, [6.0, 6.2, 6.1]),
    ]
)


def test_fastest_cheapest_deadline_and_budget() -> None:
    found = answers(ROWS, deadline_s=15.0, budget_node_hours=11.15)
    fastest = found["fastest"]
    assert (fastest["workers"], fastest["time_s"], fastest["node_hours"]) == (8, 6.1, 12.2)
    assert (fastest["time_s_low"], fastest["time_s_high"]) == (6.0, 6.2)
    assert fastest["efficiency"] == pytest.approx(20.2 / 6.1 / 8)
    assert fastest["answer"] == "ddp on cuda, 8 ranks, batch 32"
    assert fastest["reason"] == "of 4 configurations"
    assert found["cheapest"]["workers"] == 4
    assert found["deadline"]["workers"] == 4
    assert found["deadline"]["reason"] == "the cheapest of 3 that meet it"
    assert found["budget"]["workers"] == 4
    assert "fastest_without_loss" not in found
    assert list(advice(ROWS).columns) == ADVICE_COLUMNS
    assert {"deadline", "budget"} & answers(ROWS).keys() == set()


def test_no_answer_tells_why() -> None:
    found = answers(ROWS, deadline_s=5.0, budget_node_hours=7.0)
    assert found["deadline"]["answer"] is None
    assert found["deadline"]["reason"] == (
        "none of 4 configurations is so fast: ddp on cuda, 8 ranks, batch 32 takes 6.1 s"
    )
    assert found["budget"]["answer"] is None
    assert "ddp on cuda, 4 ranks, batch 32 takes 7.2 node-hours" in (found["budget"]["reason"])
    without_price = [replace(row, node_hours=None) for row in ROWS]
    found = answers(without_price, deadline_s=15.0, budget_node_hours=7.0)
    for question in ("cheapest", "deadline", "budget"):
        assert found[question]["answer"] is None
        assert "no run reports how long its job took" in found[question]["reason"]


def test_what_the_intervals_do_not_tell_apart_is_said() -> None:
    rows = priced([*ddp(2, [10.0, 10.5, 12.0]), *ddp(4, [9.5, 10.2, 11.0]), *ddp(1, [20.0] * 3)])
    found = answers(rows, deadline_s=10.6)
    apart = "statistically indistinguishable from ddp on cuda, 2 ranks, batch 32"
    assert found["fastest"]["doubt"] == apart
    assert found["cheapest"]["doubt"] == apart
    assert "its interval ends past the deadline, at 11 s" in found["deadline"]["doubt"]
    few = answers([*ddp(2, [10.0]), *ddp(1, [20.0])])["fastest"]
    assert few["doubt"] == "no interval (fewer than 3 repeats)"
    odd = answers([*ddp(2, [1.0] * 3), *ddp(1, [20.0] * 3)])["fastest"]
    assert odd["doubt"] == "its speedup is super-linear, see the audit"


def test_the_fastest_that_loses_no_accuracy() -> None:
    accuracies = {1: 0.71, 2: 0.70, 4: 0.60, 8: 0.50}
    rows = [replace(row, test_accuracy=accuracies[row.workers or 1]) for row in ROWS]
    found = answers(rows)
    assert found["fastest"]["workers"] == 8
    assert found["fastest"]["test_accuracy"] == 0.5
    best = found["fastest_without_loss"]
    assert (best["workers"], best["test_accuracy"]) == (2, 0.7)
    assert (
        "2 of 4 configurations are within 0.02 of the best test accuracy, 0.710" in (best["reason"])
    )
    few_images = answers([replace(row, test_images=20) for row in rows])["fastest_without_loss"]
    assert (
        "on 20 test images 0.710 is statistically indistinguishable from the 0.500"
        in few_images["doubt"]
    )
    # the fastest of all loses nothing: no other accuracy stands against it
    kept = {1: 0.50, 2: 0.60, 4: 0.70, 8: 0.71}
    rows = [replace(row, test_accuracy=kept[row.workers or 1], test_images=20) for row in ROWS]
    assert answers(rows)["fastest_without_loss"]["doubt"] is None


def test_the_knee_is_where_added_ranks_stop_paying() -> None:
    times = {1: 20.0, 2: 11.0, 4: 6.5, 8: 5.5}
    knee = answers([row for n, t in times.items() for row in ddp(n, [t] * 3)])["knee"]
    assert knee["workers"] == 4
    assert knee["efficiency"] == pytest.approx(20 / 6.5 / 4)
    margin = (20 / 5.5 - 20 / 6.5) / 4
    assert f"the step to 8 ranks has a marginal efficiency of {margin:.2f} (" in knee["reason"]
    assert knee["reason"].endswith("), below 0.5")
    good = answers([*ddp(1, [8.0]), *ddp(2, [4.2]), *ddp(4, [2.3])])["knee"]
    assert good["workers"] == 4
    assert good["reason"].startswith("the most measured: the step to 4 ranks has a marginal")
    assert "(" not in good["reason"]  # one run each: no interval
    alone = answers(ddp(1, [8.0, 8.1, 8.2]))["knee"]
    assert (alone["answer"], alone["reason"][:25]) == (None, "measured at one size only")


def test_an_unsure_knee_is_said() -> None:
    rows = [*ddp(1, [10.0, 10.0, 10.0]), *ddp(2, [6.0, 7.0, 6.6])]
    assert "on either side of the threshold" in answers(rows)["knee"]["reason"]


def test_weak_scaling_is_judged_by_its_rate_and_has_no_cheapest() -> None:
    rows = priced(
        [
            *packing("dask", 1, [10.0, 10.1, 10.2], scaling="weak", images_asked=100),
            *packing("dask", 4, [11.0, 11.1, 11.2], scaling="weak", images_asked=400),
        ]
    )
    found = answers(rows, deadline_s=10.5, budget_node_hours=100.0)
    assert found["fastest"]["workers"] == 4
    assert found["knee"]["workers"] == 4
    for question in ("cheapest", "deadline", "budget"):
        assert found[question]["answer"] is None
        assert "a different amount of work" in found[question]["reason"]


def test_other_work_is_advised_on_apart() -> None:
    rows = [*ddp(2, [10.0] * 3, epochs=5), *ddp(2, [30.0] * 3, epochs=20), *ddp(4, [20.0] * 3)]
    fastest = [row for row in advice(rows).rows if row["question"] == "fastest"]
    assert [(row["work"], row["time_s"]) for row in fastest] == [
        ("epochs 5", 10.0), ("epochs 20", 30.0), ("epochs None", 20.0),
    ]  # fmt: skip


TRAINED = [
    replace(row, image_size_px=256, data_wait_s=0.01 * (row.time_s or 0))
    for row in ddp(4, [2.0, 2.0, 2.0])  # 500 images/s by four: 125 each
]


def decoded(workers: int, images_per_s: float, **values: Any) -> list[Row]:
    return packing(
        "dask", workers, [1000 / images_per_s] * 3, **{"image_size_px": 256, **values}
    )  # fmt: skip


def test_the_workers_that_feed_one_gpu() -> None:
    rows = [*TRAINED, *decoded(1, 100.0), *decoded(2, 180.0), *decoded(4, 300.0)]
    found = answers(rows)["cpu_workers_per_gpu"]
    assert (found["answer"], found["workers"], found["images_per_s"]) == ("2 workers", 2, 125.0)
    assert found["reason"] == (
        "one GPU takes 125 images/s (500 by ddp on cuda, 4 ranks, batch 32, over 4); "
        "dask, 2 workers decodes 180; from the packed store it needs none of them: it waited "
        "1.0 % of the time for data"
    )
    beyond = answers([*TRAINED, *decoded(1, 40.0), *decoded(2, 60.0)])["cpu_workers_per_gpu"]
    assert beyond["workers"] == 5
    assert "60, 30 per worker, so at that rate 125 / 30 is 5 or more" in beyond["reason"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (TRAINED, "no preprocessing of the same images was measured"),
        ([*TRAINED, *decoded(1, 100.0, image_size_px=64)], "no preprocessing of the same images"),
        ([*TRAINED, *decoded(1, 100.0, color="ignore")], "no preprocessing of the same images"),
        (
            [replace(row, images_per_s=None) for row in TRAINED],
            "no training run reports its images",
        ),
    ],
)
def test_a_missing_figure_gives_no_number_of_workers(rows: list[Row], reason: str) -> None:
    found = answers(rows)["cpu_workers_per_gpu"]
    assert found["workers"] is None
    assert reason in found["reason"]


def test_nothing_measured_is_said_and_nothing_at_all_is_nothing() -> None:
    failed = [replace(row, table=None, status="failed", reason="no luck") for row in ROWS]
    found = advice(failed)
    assert [row["reason"] for row in found.rows if row["question"] == "fastest"] == [
        "no run was measured"
    ]
    assert all(row["answer"] is None for row in found.rows)
    assert advice([]).rows == []


def test_sentences_tell_figures_and_reasons() -> None:
    told = advice_sentences(advice(ROWS, deadline_s=5.0))
    assert told[0] == (
        "Training, fastest: ddp on cuda, 8 ranks, batch 32 (6.1 s, 12.2 node-hours)."
    )
    assert any(line.startswith("Training, for a deadline of 5 s: no answer, none") for line in told)
    assert not any("knee" in line or "to decode for" in line for line in told)


def test_of_many_works_the_first_are_told_in_sentences() -> None:
    rows = [row for n in range(1, 6) for row in ddp(2, [10.0], epochs=n)]
    *told, rest = advice_sentences(advice(rows))
    assert [line.split(":")[0] for line in told] == [
        f"Training (epochs {n}), among the fastest" for n in (1, 2, 3)
    ]
    assert rest == "What to run for 2 more works is in tables/advice.csv."


def test_questions_with_one_answer_share_a_sentence() -> None:
    rows = priced([*ddp(2, [10.0, 10.5, 12.0]), *ddp(4, [9.5, 10.2, 11.0])])
    answer = "ddp on cuda, 4 ranks, batch 32 (10.2 s, 10.2 node-hours)."
    apart = "tatistically indistinguishable from ddp on cuda, 2 ranks, batch 32."
    both = "Training, among the fastest and among the cheapest"
    assert advice_sentences(advice(rows)) == [f"{both}: {answer} S{apart}"]
    dearer = [replace(row, node_hours=50.0) if row.workers == 2 else row for row in rows]
    one = "Training, among the fastest and cheapest"
    assert advice_sentences(advice(dearer)) == [f"{one}: {answer} Among the fastest: s{apart}"]


def test_no_superlative_where_the_verdict_is_red_or_nothing_can_be_compared() -> None:
    rows = priced([*ddp(2, [10.0, 10.1, 10.2]), *ddp(4, [5.0, 5.1, 5.2])])
    trusted, red = (
        advice_table(compare(rows), distrust=text) for text in ("", "the verdict is red")
    )
    assert advice_sentences(trusted)[0].startswith("Training, fastest and cheapest: ")
    for line in advice_sentences(red):
        assert line.startswith("Training, among the fastest")
        assert "he verdict is red" in line
    (alone,) = advice_sentences(advice(priced(ddp(2, [10.0, 10.1, 10.2]))))
    assert alone.startswith("Training, among the fastest and among the cheapest: ")
    assert alone.endswith("Nothing to compare it with.")
