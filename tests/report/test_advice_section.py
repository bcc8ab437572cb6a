"""What to run: an answer to each question, and the configurations that no other beats."""

import pytest

from tests.report.many_rows import many_rows
from weather_hpc.analysis.advice import advice_table
from weather_hpc.analysis.comparison import compare
from weather_hpc.report.advice_section import advice_section, answers
from weather_hpc.report.collected import Collected
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
