"""The sweep in time: parts of runs, sessions, and how many lines the plot has."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.report.many_rows import many_rows
from weather_hpc.analysis.comparison import compare
from weather_hpc.report.cut_axis import CutAxis, duration_text
from weather_hpc.report.drawing import render
from weather_hpc.report.gantt import MOST_LINES, gantt
from weather_hpc.report.timeline import Timeline, merged, span_of
from weather_hpc.runs.row import Row

BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def at(seconds: float) -> str:
    return datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat()


def job(submitted: float, started: float, ended: float | None, **changes: Any) -> Row:
    """A run whose job was submitted, started and ended at these seconds."""
    values: dict[str, Any] = {
        "run_id": f"r{submitted:g}", "source": "x", "status": "ok", "table": "training",
        "stage": "train", "configuration": "c", "study": "s", "strategy": "ddp", "workers": 2,
        "device": "cpu", "images": 10, "submitted_at": at(submitted),
        "slurm_started_at": at(started), "started_at": at(started + 5),
        "ended_at": None if ended is None else at(ended),
        "startup_s": 3.0, "warmup_s": 2.0, "time_s": 20.0, "node_hours": 0.1,
    }  # fmt: skip
    return Row(**values | changes)


def test_the_parts_of_a_run() -> None:
    span = span_of(job(0, 60, 100))
    assert span is not None
    times = span.submitted, span.start, span.ready, span.measured, span.end
    assert [t - BEGIN for t in times if t is not None] == [0, 60, 70, 90, 100]
    assert span.waits_until(BEGIN + 200) == BEGIN + 60


def test_a_run_without_a_scheduler_ends_when_its_process_did() -> None:
    row = job(0, 0, None, submitted_at=None, slurm_started_at=None, total_s=40.0)
    span = span_of(row)
    assert span is not None
    assert (span.submitted, span.first - BEGIN, span.last(0) - BEGIN) == (None, 5, 45)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "skipped"},
        {"submitted_at": None, "slurm_started_at": None, "started_at": None},
        {"submitted_at": "x", "slurm_started_at": "", "started_at": "9999-99"},
    ],
)
def test_runs_without_times_have_no_bar(changes: dict[str, Any]) -> None:
    assert span_of(job(0, 60, 100, **changes)) is None


def test_what_has_not_ended_goes_on_until_the_last_time_known() -> None:
    waiting = job(10, 0, None, slurm_started_at=None, started_at=None, status="incomplete",
                  table=None, startup_s=None, time_s=None, node_hours=None)  # fmt: skip
    timeline = Timeline.of(compare([job(0, 60, 100), waiting]))
    ended, open_ = sorted(timeline.spans, key=lambda span: span.first)
    assert (ended.open, open_.open) == (False, True)
    assert open_.last(timeline.now) - BEGIN == 100
    assert timeline.waiting_s == 60
    assert "not ended" in render("s", gantt(timeline).draw or (lambda _: None), (8, 4)).svg


def test_sessions_are_apart_where_nothing_ran_for_long() -> None:
    rows = [job(0, 60, 100), job(130, 140, 200), job(5000, 5010, 5100)]
    timeline = Timeline.of(compare(rows))
    assert [(a - BEGIN, b - BEGIN) for a, b in timeline.sessions] == [(0, 200), (5000, 5100)]
    axis = CutAxis(timeline.sessions)
    assert axis.place(BEGIN + 150) == 150
    assert axis.place(BEGIN + 3000) == 200
    assert axis.place(BEGIN + 5000) == pytest.approx(200 + axis.gap)
    assert axis.length == pytest.approx(300 + axis.gap)
    ((_, pause_s),) = axis.pauses
    assert pause_s == 4800
    assert "nothing for 1 h 20 min" in render("s", gantt(timeline).draw or print, (8, 4)).svg


def test_merged_times() -> None:
    assert merged([(5, 6), (0, 2), (1, 3), (3.5, 4)]) == [(0, 3), (3.5, 4), (5, 6)]
    assert merged([(5, 6), (0, 2), (1, 3), (3.5, 4)], 0.5) == [(0, 4), (5, 6)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25 s"), (12.4, "12 s"), (125, "2 min 5 s"), (3600, "1 h"), (3 * 86_400, "3 d"),
     (90_000, "1 d 1 h"), (3599.7, "1 h")],
)  # fmt: skip
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("shown_s", "unit", "labels"),
    [(10, "seconds", ["0", "1"]), (600, "minutes", ["0", "1"]), (40_000, "hours", ["0", "1"]),
     (5400, "minutes", ["0", "10"]), (20 * 86_400, "days", ["0", "2"])],
)  # fmt: skip
def test_round_ticks(shown_s: float, unit: str, labels: list[str]) -> None:
    places, texts, found = CutAxis([(BEGIN, BEGIN + shown_s)]).ticks()
    assert (found, texts[:2]) == (unit, labels)
    assert len(places) <= 14


def test_failures_and_restarts_are_marked() -> None:
    rows = [
        job(0, 60, 100, restarts=1),
        job(1, 60, 90, status="timeout", table=None, reason="r", repeat=1),
        job(2, 60, 90, status="out_of_memory", table=None, reason="r", repeat=2),
    ]
    drawing = gantt(Timeline.of(compare(rows)))
    svg = render("s", drawing.draw or print, drawing.size).svg
    for words in ("restarted", "time limit", "out of memory", "waiting in the queue"):
        assert f">{words}<" in svg
    assert "time limit" in drawing.text


@pytest.mark.parametrize(
    ("configurations", "repeats", "lines"),
    [(6, 5, 30), (40, 5, 40), (400, 5, 25)],  # of runs, of configurations, of methods and ranks
)
def test_lines_are_few_whatever_the_number_of_runs(
    configurations: int, repeats: int, lines: int
) -> None:
    rows = [
        dataclasses.replace(
            row, started_at=at(7 * number), ended_at=at(7 * number + 50), submitted_at=at(number)
        )
        for number, row in enumerate(many_rows(configurations, repeats))
    ]
    drawing = gantt(Timeline.of(compare(rows)))
    assert drawing.text.count(";") == lines - 1 <= MOST_LINES
    svg = render("s", drawing.draw or print, drawing.size).svg
    assert len(svg) < 2**20
    assert ("running (number, a line is" in svg) == (configurations == 400)


def test_without_times_there_is_no_plot() -> None:
    row = dataclasses.replace(many_rows(1, 1)[0], started_at=None)
    timeline = Timeline.of(compare([row]))
    assert gantt(timeline).draw is None
    assert timeline.unknown == 1
