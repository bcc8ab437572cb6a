"""The advice in sentences; the table has every question and its numbers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.end_to_end import AND, QUESTION
from weather_hpc.analysis.questions import USUAL, question_words
from weather_hpc.analysis.table import Table
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import brief, counted

MOST_WORKS = 3
"""So many works of a stage get sentences; the rest are in the table."""

_UNASKED = ("fastest", "cheapest", "cpu_workers_per_gpu")
"""Questions that get a sentence only where they have an answer."""


def advice_sentences(advice: Table) -> list[str]:
    """The rows of :func:`advice_table` in sentences; questions with one answer share one.

    Only in the table: the knees, of which there are many; default questions without an answer;
    all but the first works of a stage; and all but the largest allocation.
    """
    works: dict[str, dict[str | None, None]] = defaultdict(dict)
    rows = [row for row in advice.rows if row["question"] != QUESTION]
    for row in rows:
        if row["question"] != "knee":
            works[row["stage"]][row["work"]] = None
    shown = {stage: list(names)[:MOST_WORKS] for stage, names in works.items()}
    alike: dict[tuple[object, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        question, answer = row["question"], row["answer"]
        if question == "knee" or (answer is None and question in _UNASKED):
            continue
        if row["work"] not in shown[row["stage"]]:
            continue
        feeding = question == "cpu_workers_per_gpu"
        # a question without an answer stands alone, for its reason
        alike[row["stage"], row["work"], feeding, answer or question].append(row)
    more = sum(len(names) - len(shown[stage]) for stage, names in works.items())
    rest = (
        [f"What to run for {counted(more, 'more work')} is in tables/advice.csv."] if more else []
    )
    return [*map(_sentence, alike.values()), *_end_to_end(advice.rows), *rest]


def _end_to_end(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The first allocation of each training task; where none was asked for, if it has an answer."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["question"] == QUESTION and row["work"] is not None:
            first.setdefault(row["work"].partition(AND)[2], row)
    for row in list(first.values())[:MOST_WORKS]:
        about = f"Preprocessing and training on {row['work']}"
        if row["answer"] is None:
            yield f"{about}: no answer, {row['reason']}."
            continue
        parts = [f"{about}: {row['answer']}{_values(row)}", row["reason"], row["doubt"]]
        yield ". ".join(_upper(part) for part in parts if part) + "."


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    about = BY_TABLE[first["stage"]].title + (f" ({first['work']})" if first["work"] else "")
    questions = [
        question_words(row["question"], row["doubt"])
        if row["question"] in USUAL
        else f"for a {row['question']}"
        for row in rows
    ]
    what = f"{about}, {_listed(questions)}"
    if first["question"] == "cpu_workers_per_gpu":
        return f"{about}, to decode for one device: {first['answer']}; {first['reason']}."
    if first["answer"] is None:
        return f"{what}: no answer, {first['reason']}."
    doubts: dict[str | None, list[str]] = defaultdict(list)
    for row, question in zip(rows, questions, strict=True):
        doubts[row["doubt"]].append(question)
    reservations = [
        doubt if len(doubts) == 1 else f"{_listed(of)}: {doubt}"
        for doubt, of in doubts.items()
        if doubt
    ]
    answer = f"{what}: {first['answer']}{_values(first)}"
    return ". ".join([answer, *map(_upper, reservations)]) + "."


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _values(row: dict[str, Any]) -> str:
    time_s, hours, accuracy = row["time_s"], row["node_hours"], row["test_accuracy"]
    values = []
    if isinstance(time_s, float):
        values.append(f"{brief(time_s)} s")
    if isinstance(hours, float):
        values.append(f"{brief(hours)} node-hours")
    if isinstance(accuracy, float):
        values.append(f"test accuracy {accuracy:.3f}")
    return f" ({', '.join(values)})" if values else ""
