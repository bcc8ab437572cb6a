"""What a sweep cost: used, lost, forecast, and why runs failed."""

from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave_all, measured, preprocess_spec, train_spec
from tests.report.test_timeline import job
from weather_hpc.analysis.comparison import compare
from weather_hpc.collect.sources import find_sources, read_sources
from weather_hpc.files import write_json
from weather_hpc.report.collected import Collected
from weather_hpc.report.drawing import render
from weather_hpc.report.jobs_section import jobs_section
from weather_hpc.report.sweep_cost import cost_bars, cost_sentences, stage_costs
from weather_hpc.runs.forecast_file import Expected, add_forecast
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.record import RunRecord
from weather_hpc.runs.row import Row

FAILED = {"status": "failed", "table": None, "reason": "rank 0 on node1 ended with 137"}


def sentences(*rows: Row) -> list[str]:
    return list(cost_sentences(stage_costs(rows)))


def test_failed_runs_and_repeated_tries_are_lost() -> None:
    rows = [
        job(0, 10, 100, node_hours=2.0, node_hours_spent=3.0),
        job(1, 10, 100, node_hours=2.0, node_hours_spent=2.0),
        job(2, 10, 100, node_hours=None, node_hours_spent=1.0, **FAILED),
        job(3, 10, 100, status="skipped", table=None),
    ]
    (cost,) = stage_costs(rows)
    assert (cost.used, cost.lost, cost.cells["runs"], cost.cells["failed"]) == (6.0, 2.0, 3, 1)
    said = sentences(*rows)
    assert said[-2] == "6 node-hours were used."
    assert said[-1].startswith("2 of them (33 %) went to runs that failed")


def test_the_commonest_reason_of_failures() -> None:
    reasons = ["no space left", "rank 0 on a ended with 1", "rank 1 on b ended with 2"]
    rows = [job(n, 10, 100, **FAILED | {"reason": reason}) for n, reason in enumerate(reasons)]
    (text,) = [s for s in sentences(*rows) if "failed" in s and "of 3 runs" in s]
    assert text == (
        "3 of 3 runs failed (3 failed); the commonest reason (2 times): rank 0 on a ended with 1."
    )


def test_waiting_is_said_where_there_was_any() -> None:
    said = sentences(*(job(n, 10, 100, queue_s=60.0 * n) for n in range(3)))
    assert said[0] == "A job waited 1 min in the queue, the median of 3; the longest 2 min."
    assert "queue" not in "".join(sentences(job(0, 10, 100, queue_s=0.0)))


def test_nothing_is_said_of_what_is_not_known() -> None:
    row = job(0, 10, 100, node_hours=None)
    assert sentences(row) == []
    assert cost_bars(stage_costs([row])).draw is None


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({}, "node-hours were used."),
        ({0: None, 1: None}, "node-hours were used; the time limits allowed 4."),
        ({0: 0.01, 1: 0.01}, "% of the 0.02 that were forecast; the time limits allowed 4."),
        ({0: 0.01}, "node-hours were used."),  # known of some runs only
    ],
)
def test_used_of_the_forecast(
    tmp_path: Path, expected: dict[int, float | None], words: str
) -> None:
    records = [measured(train_spec("ddp", 2, repeat), 10.0) for repeat in range(2)]
    collected = left(tmp_path, records)
    kept = {records[n].run_id: Expected(hours, 2.0) for n, hours in expected.items()}
    add_forecast(StudyPaths(tmp_path), kept)
    section = jobs_section(collected)
    (text,) = [s for s in section.sentences if "node-hours were used" in s]
    assert text.endswith(words)
    (row,) = section.tables[0].rows
    assert row["forecast_node_hours"] == (0.02 if len(kept) == 2 and expected[0] else None)
    svg = render("c", section.plots[1].draw or print, section.plots[1].size).svg
    assert (">forecast<" in svg) == (row["forecast_node_hours"] is not None)


def left(root: Path, records: list[RunRecord]) -> Collected:
    leave_all(root, records)
    readings, _ = read_sources(find_sources([root]))
    return Collected(compare([reading.row for reading in readings]))


def test_tries_of_runs_on_disk_count(tmp_path: Path) -> None:
    records: list[Any] = [measured(preprocess_spec("dask", 2), 10.0)]
    leave_all(tmp_path, records)
    run = StudyPaths(tmp_path).run(records[0].run_id)
    write_json(run.earlier_tries, {"node_hours": 1.0})
    readings, _ = read_sources(find_sources([tmp_path]))
    (cost,) = stage_costs([reading.row for reading in readings])
    assert cost.used == pytest.approx(1 + 11 / 3600)
    assert cost.lost == pytest.approx(1.0)
