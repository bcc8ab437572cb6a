"""Advice: which configuration to take, by what was measured, and how sure that is."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from weather_hpc.analysis.advice_candidates import all_works, figure
from weather_hpc.analysis.advice_choices import ACCURACY_TOLERANCE, choices
from weather_hpc.analysis.advice_feed import cpu_workers_per_gpu
from weather_hpc.analysis.advice_knee import RULE, knee
from weather_hpc.analysis.series import all_series
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.runs.row import Row
from weather_hpc.text import counted

ADVICE_COLUMNS = [
    "question", "stage", "work", "answer", "reason", "doubt", "workers", "time_s", "time_s_low",
    "time_s_high", "images_per_s", "node_hours", "efficiency", "test_accuracy",
]  # fmt: skip

_CAPTION = (
    "Chosen among configurations that do the same work (work, where there are several). fastest: "
    "the least time_s (weak scaling: the most images per second); fastest_without_loss: the same "
    f"among those within {ACCURACY_TOLERANCE:g} of the best test accuracy, where others are not; "
    "cheapest: the least node_hours, which is nodes x the whole duration of the job, start-up "
    "included; deadline: the cheapest whose time_s meets it; budget: the fastest that costs no "
    f"more node_hours for a run. {RULE} cpu_workers_per_gpu: how many decode as many images per "
    "second as one device trains on. doubt tells how sure the answer is; not told apart: the 95 % "
    "intervals overlap. Configurations in whose runs the audit found errors are left out."
)

_STAGES = {"preprocess": "Preprocessing", "training": "Training"}

_WORDS = {
    "fastest": "fastest", "fastest_without_loss": "fastest without a loss of accuracy",
    "cheapest": "cheapest",
}  # fmt: skip

MOST_WORKS = 3
"""Of so many works in a stage the advice is told in sentences."""

_UNASKED = ("fastest", "cheapest", "cpu_workers_per_gpu")
"""Questions that are answered where that can be done, and else are not worth a sentence."""


def advice_table(
    tables: Sequence[ScalingTable],
    rows: Sequence[Row],
    *,
    deadline_s: float | None = None,
    budget_node_hours: float | None = None,
) -> Table:
    """One row for each question on each work; where there is no answer, ``reason`` tells why.

    ``tables`` are those that were made of ``rows``. ``deadline_s`` (seconds of measured time) and
    ``budget_node_hours`` (of one run) add their questions.
    """
    works = all_works(tables, rows)
    lines = [
        {"stage": work.stage, "work": work.label, **line}
        for work in works
        for line in choices(work, deadline_s, budget_node_hours)
    ]
    measured = {work.stage for work in works}
    lines += [
        {"question": "fastest", "stage": table.name, "reason": "no run was measured"}
        for table in tables
        if table.rows and table.name not in measured
    ]
    lines += map(knee, all_series(rows))
    lines += cpu_workers_per_gpu(works)
    return Table(
        "advice",
        "Advice",
        _CAPTION,
        ADVICE_COLUMNS,
        [
            {column: line.get(column) for column in ADVICE_COLUMNS}
            | {"doubt": line.get("doubt") or None}
            for line in lines
        ],
    )


def advice_sentences(advice: Table) -> list[str]:
    """The rows of :func:`advice_table` in sentences; questions with one answer share one.

    Left to the table are the knees, of which there are many, what nobody asked for and has no
    answer, and of many works in a stage all but the first.
    """
    works: dict[str, dict[str | None, None]] = defaultdict(dict)
    for row in advice.rows:
        if row["question"] != "knee":
            works[row["stage"]][row["work"]] = None
    told = {stage: list(names)[:MOST_WORKS] for stage, names in works.items()}
    alike: dict[tuple[object, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in advice.rows:
        question, answer = row["question"], row["answer"]
        if question == "knee" or (answer is None and question in _UNASKED):
            continue
        if row["work"] not in told[row["stage"]]:
            continue
        feeds = question == "cpu_workers_per_gpu"
        # what has no answer stands alone, for its reason
        alike[row["stage"], row["work"], feeds, answer or question].append(row)
    more = sum(len(names) - len(told[stage]) for stage, names in works.items())
    rest = (
        [f"What to run for {counted(more, 'more work')} is in tables/advice.csv."] if more else []
    )
    return [*map(_sentence, alike.values()), *rest]


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    about = _STAGES[first["stage"]] + (f" ({first['work']})" if first["work"] else "")
    words = [_WORDS.get(row["question"], f"for a {row['question']}") for row in rows]
    what = f"{about}, {_listed(words)}"
    if first["question"] == "cpu_workers_per_gpu":
        return f"{about}, to decode for one device: {first['answer']}; {first['reason']}."
    if first["answer"] is None:
        return f"{what}: no answer, {first['reason']}."
    doubts: dict[str | None, list[str]] = defaultdict(list)
    for row, word in zip(rows, words, strict=True):
        doubts[row["doubt"]].append(word)
    told = [
        doubt if len(doubts) == 1 else f"{_listed(of)}: {doubt}"
        for doubt, of in doubts.items()
        if doubt
    ]
    return ". ".join([f"{what}: {first['answer']}{_figures(first)}", *map(_upper, told)]) + "."


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _figures(row: dict[str, Any]) -> str:
    time_s, hours, accuracy = row["time_s"], row["node_hours"], row["test_accuracy"]
    words = []
    if isinstance(time_s, float):
        words.append(f"{figure(time_s)} s")
    if isinstance(hours, float):
        words.append(f"{figure(hours)} node-hours")
    if isinstance(accuracy, float):
        words.append(f"test accuracy {accuracy:.3f}")
    return f" ({', '.join(words)})" if words else ""
