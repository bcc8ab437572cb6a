"""What the study's numbers and runs say of claims: no more than they show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, packing, paper_ddp, paper_preprocessing
from weather_hpc.analysis.claims.answers import Outcome, judge
from weather_hpc.analysis.claims.matching import Evidence
from weather_hpc.analysis.claims.rules import ClaimsFile, Rule, load_claims, published_claims
from weather_hpc.analysis.claims.table import ClaimsTable, claims_table
from weather_hpc.analysis.comparison import compare
from weather_hpc.runs.row import Row

NEAR = [0.98, 0.99, 1.0, 1.01]
"""Four repeats: enough for one order of two configurations."""
NEAR_SIX = [0.97, 0.98, 0.99, 1.0, 1.01, 1.02]

GPUS = {"strategy": "ddp", "device": "cuda"}


def repeats(time_s: float, near: list[float] = NEAR) -> list[float]:
    return [time_s * factor for factor in near]


def gpus(times: dict[int, float], near: list[float] = NEAR, batch: int = 32) -> list[Row]:
    """Repeats of DDP on each number of GPUs around a time."""
    return [
        row
        for count, time_s in times.items()
        for row in ddp(
            count, repeats(time_s, near), batch_size_per_device=batch,
            batch_size_global=batch * count,
        )
    ]  # fmt: skip


def judged(rows: list[Row], *rules: dict[str, Any], printed: bool = False) -> Outcome:
    file = ClaimsFile.model_validate({
        "source": "us",
        "claims": [{
            "id": "c", "sentence": "It is so.", "about": "notes",
            "rules": [{"stage": "train", "kind": "faster", **rule} for rule in rules],
        }],
    })  # fmt: skip
    return judge(file.claims[0], Evidence(compare(rows), printed=printed))


def two_over_one(**more: Any) -> dict[str, Any]:
    return {"of": {**GPUS, "workers": 2, **more}, "than": {**GPUS, "workers": 1, **more}}


def study(rows: list[Row]) -> ClaimsTable:
    return claims_table(load_claims(published_claims()), compare(rows))


# the study's own numbers


def published() -> dict[str, dict[str, Any]]:
    return {row["claim"]: row for row in study(paper_ddp()).rows}


def test_the_studys_tables_contradict_some_of_its_sentences() -> None:
    answers = {claim: row["published"] for claim, row in published().items()}
    assert {claim for claim, answer in answers.items() if answer == "does not hold"} == {
        "dask-behind-at-equal-workers", "dp-two-gpus-best",
        "ddp-small-batches-lose", "ddp-four-gpus-optimal",
    }  # fmt: skip
    assert {claim for claim, answer in answers.items() if answer == "not measured"} == {
        "dask-array-faster", "model-parallel-better-on-gpus",
    }  # fmt: skip
    assert set(answers.values()) == {
        "holds",
        "does not hold",
        "not measured",
    }  # no repeats, no doubt


def test_which_batch_sizes_lose_and_gain_comes_out_unasked() -> None:
    assert published()["ddp-small-batches-lose"]["published_values"] == (
        "Holds: batch 32: 1 rank 92 s against 2 ranks 97 s; "
        "batch 128: 2 ranks 63 s against 1 rank 91 s; "
        "batch 256: 2 ranks 66 s against 1 rank 93 s. "
        "Does not hold: batch 64: 1 rank 94 s against 2 ranks 79 s"
    )
    table = study(paper_ddp())
    found = [text for text in table.contradictions if "loses at the small batch sizes" in text]
    assert [text.split("”: ")[1] for text in found] == [
        "batch 64: 1 rank 94 s against 2 ranks 79 s."
    ]
    optimal = next(text for text in table.contradictions if "4 are optimal for DDP" in text)
    assert "batch 64: 4 ranks 236 s against 2 ranks 79 s" in optimal
    assert any("contradict 4 of its 16 conclusions" in text for text in table.findings)


def test_tables_on_different_hardware_are_never_mixed() -> None:
    """One P100 (79 s) is no baseline of the RTX 3070s, whose own was not printed."""
    figures = published()["dp-two-gpus-best"]["published_values"]
    assert figures.count("single") == 1
    assert "P100: dp 2 ranks 66 s against single 1 rank 79 s" in figures


def test_runs_with_the_studys_times_get_its_answers_once_they_are_repeated() -> None:
    rows = [
        row
        for line in paper_preprocessing()
        for row in packing(
            str(line.backend), line.workers or 0, repeats(line.time_s or 0, NEAR_SIX)
        )
    ]
    found = {row["claim"]: row for row in study(rows).rows}
    for claim in ("sequential-slowest", "processes-scale", "eight-processes-best"):
        assert found[claim]["here"] == found[claim]["published"] == "holds"
    assert found["dask-behind-at-equal-workers"]["here"] == "does not hold"
    assert found["ddp-four-gpus-optimal"]["here"] == "not measured"
    once = {row["claim"]: row for row in study(paper_preprocessing()).rows}
    assert once["sequential-slowest"]["here"] == "not shown"


# orders


def test_an_order_holds_where_four_repeats_show_it() -> None:
    found = judged(gpus({1: 100, 2: 60}), two_over_one())
    assert found.answer == "holds"
    assert found.ratio == pytest.approx(100 / 60)
    low, high = found.interval
    assert low is not None
    assert high is not None
    assert low < 100 / 60 < high
    assert found.values == "2 ranks 59.7 s (58.8–60.6) against 1 rank 99.5 s (98–101)"


def test_the_reverse_order_does_not_hold() -> None:
    assert judged(gpus({1: 60, 2: 100}), two_over_one()).answer == "does not hold"


@pytest.mark.parametrize(("count", "needed"), [(1, 4), (3, 4)])
def test_few_repeats_leave_an_order_open(count: int, needed: int) -> None:
    found = judged(gpus({1: 100, 2: 60}, NEAR[:count]), two_over_one())
    assert found.answer == "not shown"
    assert found.values.startswith("Not shown, medians as claimed: 2 ranks")
    assert found.needed == f"at least {needed} repeats of each configuration, now {count}"


def test_overlapping_times_leave_an_order_open() -> None:
    found = judged(gpus({1: 100, 2: 100.5}), two_over_one())
    assert (found.answer, found.values[:35]) == (
        "not shown", "Not shown, medians not as claimed: "
    )  # fmt: skip
    assert found.needed == ("at least 5 repeats of each configuration, with 4 the times overlap")


def test_to_refute_one_of_several_orders_takes_more_repeats_than_to_show_one() -> None:
    rows = [*gpus({1: 100, 2: 60}), *gpus({1: 60, 2: 100}, batch=64)]
    found = judged(rows, two_over_one())
    assert found.answer == "not shown"
    assert found.needed == "at least 5 repeats of each configuration, now 4"
    rows = [*gpus({1: 100, 2: 60}, NEAR_SIX), *gpus({1: 60, 2: 100}, NEAR_SIX, batch=64)]
    found = judged(rows, two_over_one())
    assert found.answer == "does not hold"
    assert found.values.startswith("Holds: batch 32: 2 ranks")
    assert ". Does not hold: batch 64: 2 ranks" in found.values
    assert found.ratio is None  # there are two


def test_equal_printed_times_are_no_order() -> None:
    rows = gpus({1: 100, 2: 100}, [1.0])
    assert judged(rows, two_over_one(), printed=True).answer == "does not hold"


# what takes part


def test_only_equal_settings_are_compared() -> None:
    rows = [*gpus({1: 100}), *gpus({2: 60}, batch=64)]
    found = judged(rows, two_over_one())
    assert (found.answer, found.has_cases) == ("not measured", False)
    assert found.needed == (
        "ddp on cuda, 2 ranks and ddp on cuda, 1 rank, equal in all other settings"
    )


def test_the_global_batch_may_be_what_is_equal() -> None:
    rows = [*gpus({1: 100}, batch=64), *gpus({2: 60}, batch=32)]
    assert judged(rows, two_over_one() | {"match": ["batch_size_global"]}).answer == "holds"


def test_of_several_on_other_nodes_the_most_alike_is_compared() -> None:
    slow = ddp(2, repeats(200), nodes=2)
    rows = [*ddp(1, repeats(100), nodes=1), *ddp(2, repeats(60), nodes=1), *slow]
    found = judged(rows, {"of": {**GPUS, "workers": 1}, "than": {**GPUS, "workers": 2}})
    assert found.answer == "does not hold"
    assert found.values == "1 rank 99.5 s (98–101) against 2 ranks 59.7 s (58.8–60.6)"
    reverse = judged(rows, {"of": {**GPUS, "workers": 2}, "than": {**GPUS, "workers": 1}})
    assert reverse.values == "2 ranks 59.7 s (58.8–60.6) against 1 rank 99.5 s (98–101)"
    spread = judged([*ddp(1, repeats(100), nodes=1), *slow], {
        "of": {**GPUS, "workers": 1}, "than": {**GPUS, "workers": 2},
    })  # fmt: skip
    assert spread.values.startswith("1 rank nodes 1 99.5 s")


def test_configurations_that_nothing_tells_apart_are_not_used() -> None:
    rows = [
        replace(row, configuration=f"{n}-{log}")
        for n in (1, 2)
        for log in range(3)
        for row in ddp(n, [100.0 / n])
    ]
    found = judged(rows, two_over_one())
    assert found.answer == "not measured"
    assert found.needed == (
        "ddp on cuda, 2 ranks; ddp on cuda, 1 rank; "
        "a setting in which 6 configurations with equal settings differ"
    )


def test_weak_scaling_answers_nothing() -> None:
    rows = [row for n in (1, 2) for row in ddp(n, repeats(100 / n), scaling="weak")]
    found = judged(rows, two_over_one())
    assert (found.answer, found.needed) == (
        "not measured", "ddp on cuda, 2 ranks; ddp on cuda, 1 rank"
    )  # fmt: skip


def test_runs_with_audit_errors_are_not_used() -> None:
    bad = ddp(2, repeats(60), audit_errors="nan_loss")
    found = judged([*gpus({1: 100}), *bad], two_over_one())
    assert (found.answer, found.needed) == ("not measured", "ddp on cuda, 2 ranks")


def test_what_a_rule_names_must_be_measured() -> None:
    rule = {
        "kind": "time_rises", "along": "workers",
        "of": {**GPUS, "workers": [1, 2, 4], "batch_size_per_device": [32, 64]},
    }  # fmt: skip
    rows = [*gpus({1: 10, 2: 20}), *gpus({1: 10, 2: 20, 4: 30}, batch=64)]
    found = judged(rows, rule)
    assert (found.answer, found.needed) == ("not measured", "ddp on cuda, 4 ranks, batch 32")
    assert found.values.count("batch") == 2  # what was measured is shown all the same
    assert judged([*rows, *gpus({4: 30})], rule).answer == "holds"


def test_a_measured_contradiction_outweighs_what_is_missing() -> None:
    rule = {"kind": "time_rises", "along": "workers", "of": {**GPUS, "workers": [1, 2, 4]}}
    assert judged(gpus({1: 100, 2: 60}), rule).answer == "does not hold"


# the other kinds


def fastest(workers: int) -> dict[str, Any]:
    return {"kind": "fastest", "of": {**GPUS}, "expected": {"workers": workers}}


def test_the_fastest_is_shown_against_the_one_nearest_to_it() -> None:
    rows = gpus({1: 100, 2: 60, 4: 70})
    found = judged(rows, fastest(2))
    assert found.answer == "holds"
    assert found.values == "2 ranks 59.7 s (58.8–60.6) against 4 ranks 69.65 s (68.6–70.7)"
    assert judged(gpus({1: 100, 2: 60, 4: 70}, NEAR_SIX), fastest(4)).answer == "does not hold"
    slowest = fastest(1) | {"kind": "slowest"}
    assert judged(rows, slowest).answer == "holds"


def test_times_along_a_setting() -> None:
    along = {"along": "workers", "of": dict(GPUS)}
    rows = gpus({1: 100, 2: 60, 4: 30}, NEAR_SIX)
    assert judged(rows, along | {"kind": "time_falls"}).answer == "holds"
    assert judged(rows, along | {"kind": "time_rises"}).answer == "does not hold"
    found = judged(gpus({2: 60}), along | {"kind": "time_falls"})
    assert found.needed == "ddp on cuda, at two or more values of workers"


@pytest.mark.parametrize(
    ("second", "near", "answer"),
    [
        (101, [0.999, 1.0, 1.001], "holds"),
        (120, [0.999, 1.0, 1.001], "does not hold"),
        (104.9, [0.99, 1.0, 1.01], "not shown"),
        (100, [1.0], "not shown"),
    ],
)
def test_flat_is_within_a_fraction(second: float, near: list[float], answer: str) -> None:
    rule = {"kind": "time_flat", "along": "workers", "within": 0.05, "of": dict(GPUS)}
    found = judged(gpus({1: 100, 2: second}, near), rule)
    assert found.answer == answer
    assert f"at most {100 * (second / 100 - 1):.2g} % apart" in found.values


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(1.5, None, "holds"), (None, 1.5, "does not hold"), (1.67, 2, "not shown")],
)
def test_a_ratio_in_bounds(low: float | None, high: float | None, answer: str) -> None:
    found = judged(
        gpus({1: 100, 2: 60}), two_over_one() | {"kind": "ratio", "between": [low, high]}
    )
    assert found.answer == answer
    assert found.ratio == pytest.approx(100 / 60)


def test_a_value_of_each_configuration() -> None:
    rule = {"kind": "value", "of": GPUS, "column": "test_accuracy", "between": [0.5, 0.6]}
    good = ddp(1, [1.0, 1.1, 1.2], test_accuracy=0.55)
    bad = ddp(2, [1.0, 1.1, 1.2], test_accuracy=0.4)
    assert judged(good, rule).answer == "holds"
    found = judged([*good, *bad], rule)
    assert found.answer == "does not hold"
    assert "Does not hold: 2 ranks: test_accuracy 0.4" in found.values
    missing = judged(ddp(1, [1.0]), rule)
    assert missing.needed == "test_accuracy of ddp on cuda"


def test_a_speedup_with_a_bad_baseline_is_no_value() -> None:
    rule = {
        "kind": "value", "of": {**GPUS, "workers": 2}, "column": "speedup", "between": [1, None],
    }  # fmt: skip
    assert judged(gpus({1: 100, 2: 60}), rule).answer == "holds"
    bad = ddp(1, repeats(100), audit_errors="nan_loss")
    assert judged([*bad, *gpus({2: 60})], rule).answer == "not measured"


# the table


def test_nothing_is_said_where_no_claim_can_use_a_run() -> None:
    table = study(packing("dask-jobqueue", 2, [1.0]))
    assert (table.rows, table.findings, table.contradictions) == ([], (), ())


def test_own_claims_are_not_the_studys(tmp_path: Path) -> None:
    text = published_claims().read_text().replace("published: true", "")
    (tmp_path / "own.yaml").write_text(text)
    table = claims_table(load_claims(tmp_path / "own.yaml"), compare(paper_ddp()))
    assert (table.title, table.contradictions) == ("Claims", ())
    assert table.findings[0].startswith("Of the 16 claims, on these runs: ")


def test_what_makes_a_pair_differ() -> None:
    rule = Rule.model_validate({
        "kind": "faster", "stage": "train",
        "of": {"strategy": "ddp", "device": "cuda", "workers": {"from": 2}},
        "than": {"strategy": "dp", "device": "cuda", "workers": {"from": 2}},
    })  # fmt: skip
    assert rule.free == {"strategy"}
