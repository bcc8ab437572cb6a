"""How far the numbers can be trusted, and why."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, paper_ddp
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.verdict import Trust, verdict
from weather_hpc.runs.row import Code, Finding, Row, Severity

STUDY = ddp(1, [10.0, 10.1, 10.2, 10.1, 10.0]) + ddp(2, [5.0, 5.1, 5.2, 5.1, 5.0])


def judged(rows: Sequence[Row], *findings: Finding) -> tuple[Trust, str]:
    found = verdict(compare(rows), findings)
    assert found is not None
    return found.trust, found.text


def finding(row: Row, code: Code, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(row.run_id, severity, code, "evidence")


def failed(number: int, status: str = "failed") -> list[Row]:
    return [
        replace(row, run_id=f"{status}{i}", status=status, table=None, time_s=None)
        for i, row in enumerate([STUDY[0]] * number)
    ]


def changed(number: int, **values: Any) -> list[Row]:
    """The study with ``values`` in its first rows."""
    return [replace(row, **values) for row in STUDY[:number]] + STUDY[number:]


def test_a_repeated_undisturbed_study_is_green_whatever_was_skipped() -> None:
    trust, text = judged(STUDY + failed(30, "skipped"))
    assert trust is Trust.GREEN
    assert text == (
        "10 runs of 2 configurations, 5 repeats of each, no audit error; none was disturbed."
    )


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (paper_ddp(), "no configuration was repeated"),
        (STUDY[:7], "1 of 2 configurations has fewer than 4 repeats"),
        (changed(3, restarts=1), "3 of 10 runs restarted"),
        (changed(2, oversubscribed="as asked for"), "workers shared CPUs in 2 of 10 runs"),
        (changed(10, device_asked="cpu"), "all 10 runs ran on another device than asked for"),
        (
            [replace(row, cpu_model="A" if i else "B") for i, row in enumerate(STUDY)],
            "1 of 10 runs used other hardware than the rest",
        ),
        (STUDY + failed(2), "2 of 12 runs failed"),
        (
            ddp(1, [10.0, 14.0, 10.0, 14.0]),
            "intervals are wider than 20 % of the time in the only configuration",
        ),
    ],
    ids=["paper", "few", "restarted", "shared", "device", "hardware", "failed", "wide"],
)
def test_what_makes_it_amber(rows: list[Row], cause: str) -> None:
    assert judged(rows) == (Trust.AMBER, f"Use with care: {cause}.")


def test_errors_failures_and_foreign_load_in_half_of_the_runs_make_it_red() -> None:
    begin = "Do not rely on these numbers: "
    error = finding(STUDY[0], Code.NAN_LOSS, Severity.ERROR)
    assert judged(STUDY, error) == (Trust.RED, f"{begin}the audit found errors in 1 of 10 runs.")
    assert judged(STUDY + failed(10)) == (Trust.RED, f"{begin}10 of 20 runs failed.")
    load = [finding(row, Code.FOREIGN_LOAD) for row in STUDY]
    assert judged(STUDY, *load[:4])[0] is Trust.AMBER
    cause = "other processes used the CPUs in 5 of 10 runs"
    assert judged(STUDY, *load[:5]) == (Trust.RED, f"{begin}{cause}.")
    assert judged(failed(3)) == (Trust.RED, "Nothing was measured: all 3 runs failed.")
    assert verdict(compare(failed(3, "skipped")), []) is None


def test_the_worst_causes_are_named_first_and_few_of_them() -> None:
    rows = changed(2, restarts=1, oversubscribed="not asked for", cpu_model="B")
    rows = [replace(row, cpu_model=row.cpu_model or "A") for row in rows] + failed(3)
    trust, text = judged(rows, finding(rows[0], Code.NAN_LOSS, Severity.ERROR))
    assert trust is Trust.RED
    assert text == (
        "Do not rely on these numbers: the audit found errors in 1 of 10 runs, 3 of 13 runs failed "
        "and 3 more causes in the audit."
    )


def test_a_reference_that_differs_says_nothing_of_these_runs() -> None:
    differs = Finding(
        "tables/training.csv", Severity.ERROR, Code.REFERENCE_MISMATCH, "regression: time_s"
    )
    stores = replace(differs, source="tables/preprocess.csv", message="into different stores (a)")
    assert judged(STUDY, differs)[0] is Trust.GREEN
    assert judged(STUDY, stores)[0] is Trust.RED


def test_where_nothing_was_measured_runs_that_were_skipped_did_not_fail() -> None:
    assert judged(failed(2) + failed(3, "skipped"))[1] == (
        "Nothing was measured: 2 of 5 runs failed."
    )
