"""What to run: an answer to each question, and the configurations that no other beats."""

import itertools
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.report.many_rows import many_rows
from weather_hpc.analysis.advice import advice_table
from weather_hpc.analysis.comparison import compare
from weather_hpc.report.advice_section import advice_section, answers
from weather_hpc.report.collected import Collected
from weather_hpc.report.drawing import RC
from weather_hpc.report.pareto import pareto


@pytest.fixture(scope="module")
def collected() -> Collected:
    rows = []
    for row in many_rows(25, 3):
        row = row.__class__(
            **vars(row) | {"node_hours": (row.time_s or 0) * (row.workers or 1) ** 1.3}
        )
        rows.append(row)
    comparison = compare(rows)
    advice = advice_table(comparison, deadline_s=100.0, budget_node_hours=1.0)
    return Collected(comparison, extras=[advice], deadline_s=100.0, budget_node_hours=1.0)


def test_each_question_has_one_answer(collected: Collected) -> None:
    facts = dict(advice_section(collected).facts)
    assert facts["Training: deadline of 100 s"].startswith("d")
    assert facts["Training: budget of 1 node-hours"].startswith("No answer: ")
    assert "node-hours" in facts["Training: among the cheapest"]
    assert any(label.startswith("Training: up to how many ranks") for label in facts)


def test_what_is_not_shown_to_be_best_is_not_called_so() -> None:
    row = {"question": "fastest", "stage": "training", "work": None, "answer": "a", "doubt": None}
    assert [label for label, _ in answers([row])] == ["Training: fastest"]
    ((label, text),) = answers([row | {"doubt": "b may be as good"}])
    assert (label, text) == ("Training: among the fastest", "a. B may be as good.")


def test_the_frontier_has_what_no_other_beats(collected: Collected) -> None:
    drawing = pareto(collected)
    best = [row for row in drawing.data if row["on_frontier"]]
    assert len(best) > 2
    for row in drawing.data:
        beaten = [
            other
            for other in drawing.data
            if other["time_s"] <= row["time_s"]
            and other["node_hours"] <= row["node_hours"]
            and (other["time_s"], other["node_hours"]) != (row["time_s"], row["node_hours"])
        ]
        assert bool(beaten) is not row["on_frontier"]
    assert drawing.draw is not None


@pytest.mark.parametrize("close", [1.0, 0.1, 0.0])
def test_labels_cover_no_point_and_no_other_label(close: float) -> None:
    """Points so close together that not every label has a place, too."""
    rows = []
    for row in many_rows(25, 1):
        time_s = 100.0 * ((row.time_s or 100.0) / 100.0) ** close
        hours = 2.0 * (row.workers or 1) ** (0.3 * close)
        rows.append(row.__class__(**vars(row) | {"time_s": time_s, "node_hours": hours}))
    drawing = pareto(Collected(compare(rows), deadline_s=100.0, budget_node_hours=2.5))
    assert drawing.draw is not None
    figure = Figure(figsize=drawing.size)
    with matplotlib.rc_context(RC):
        drawing.draw(figure)
        figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    marks = [line for line in axes.get_lines() if line.get_marker() == "o"]
    places = [axes.transData.transform(np.asarray(mark.get_xydata())[0]) for mark in marks]
    assert len(places) == len(drawing.data) > 5
    assert not [box for box in boxes for place in places if box.contains(*place)]
    pairs = itertools.combinations(boxes, 2)
    assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]
    named = [
        text.get_text() for text in axes.texts if text.get_text() not in ("deadline", "budget")
    ]
    assert named or close == 0.0


def test_what_has_no_answer_is_one_sentence() -> None:
    comparison = compare([replace(row, node_hours=None) for row in many_rows(5, 1)])
    section = advice_section(Collected(comparison, extras=[advice_table(comparison)]))
    *answered, (label, text) = section.facts
    assert label == "No answer, for lack of data"
    assert "cheapest in training (no run reports how long its job took)" in text
    assert answered
    assert not any(text.startswith("No answer") for _, text in answered)
    assert all(row["answer"] for table in section.tables for row in table.rows)
