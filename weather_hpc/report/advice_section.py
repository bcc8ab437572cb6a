"""The section that says what to run: an answer to each question, time against node-hours."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weather_hpc.analysis.end_to_end import QUESTION
from weather_hpc.analysis.questions import LIMITS, USUAL, question_words
from weather_hpc.report.collected import Collected
from weather_hpc.report.layout import interval_text
from weather_hpc.report.pareto import pareto
from weather_hpc.report.section import ReportSection
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import brief

_PER_GPU = "cpu_workers_per_gpu"

_OPEN = {
    "knee": "up to how many workers each one pays",
    _PER_GPU: "CPUs that decode for one device",
    QUESTION: "preprocessing and training together",
}
"""What questions are called that are none of one choice."""

MOST_WORKS = 3
"""Works of a stage whose questions are answered here; the table has all."""


def advice_section(collected: Collected) -> ReportSection:
    """Which configurations to choose, for which purpose."""
    advice = collected.table("advice")
    if advice is None:
        return ReportSection("advice", "What to run")
    tables = [t for t in collected.extras if t.name.startswith("advice")]
    answered = [replace(t, rows=[row for row in t.rows if not _is_open(row)]) for t in tables]
    shown = [table for table in answered if table.rows]
    found = list(answers(advice.rows))
    if not found and not shown:
        return ReportSection("advice", "What to run")
    return ReportSection(
        "advice",
        "What to run",
        facts=[*found, *_unanswered(advice.rows)],
        plots=[pareto(collected)],
        tables=shown,
    )


def answers(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each question on the first works of each stage, with its answer in a sentence."""
    works: dict[str, dict[str | None, None]] = defaultdict(dict)
    for row in rows:
        if _label(row):
            works[row["stage"]][row.get("work")] = None
    first = {stage: list(names)[:MOST_WORKS] for stage, names in works.items()}
    for row in rows:
        label = "" if _is_open(row) else _label(row)
        if label and row.get("work") in first[row["stage"]]:
            about = BY_TABLE[row["stage"]].title
            about += f" ({row['work']})" if row.get("work") else ""
            yield f"{about}: {label}", _answer(row)
    yield from _knees([row for row in rows if row.get("question") == "knee"])
    for row in rows:
        if row.get("question") == _PER_GPU and row.get("answer"):
            yield "CPUs that decode for one device", f"{row['answer']}: {row['reason']}."
    for row in rows:
        if row.get("question") == QUESTION and row.get("answer"):
            yield f"Preprocessing and training, {row['work']}", _answer(row)
            break


def _is_open(row: Mapping[str, Any]) -> bool:
    """Whether there are no data to answer a question that is asked of every study."""
    question = str(row.get("question", ""))
    return "answer" in row and row["answer"] is None and not question.startswith(LIMITS)


def _unanswered(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Which questions have no answer, and why, in one sentence."""
    reasons: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        if _is_open(row):
            question = _OPEN.get(row["question"]) or question_words(row["question"], None)
            if row["question"] not in (QUESTION, _PER_GPU):
                question += f" in {BY_TABLE[row['stage']].title.lower()}"
            reasons[row["reason"]][question] = None
    if reasons:
        texts = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
        yield "No answer, for lack of data", f"{'; '.join(texts)}."


def _label(row: Mapping[str, Any]) -> str:
    """What the question of ``row`` is called; empty where it has no answer of its own here."""
    question = str(row.get("question"))
    if question.startswith(LIMITS) or question in USUAL:
        return question_words(question, row.get("doubt"))
    return ""


def _answer(row: Mapping[str, Any]) -> str:
    if row.get("answer") is None:
        return f"No answer: {row['reason']}."
    values = []
    if isinstance(row.get("time_s"), float):
        interval = interval_text(dict(row), "time_s")
        values.append(f"{brief(row['time_s'])} s {interval}".rstrip())
    if isinstance(row.get("node_hours"), float):
        values.append(f"{brief(row['node_hours'])} node-hours")
    if isinstance(row.get("test_accuracy"), float):
        values.append(f"test accuracy {row['test_accuracy']:.3f}")
    text = f"{row['answer']}: {', '.join(values)}" if values else str(row["answer"])
    return f"{text}. {_doubt(row)}".rstrip()


def _doubt(row: Mapping[str, Any]) -> str:
    doubt = row.get("doubt")
    return f"{doubt[0].upper()}{doubt[1:]}." if isinstance(doubt, str) and doubt else ""


def _knees(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Up to how many workers each added one pays, for all series of a stage together."""
    by_stage: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("answer") and row.get("workers"):
            by_stage[row["stage"]].append(row)
    for stage, found in by_stage.items():
        workers = sorted({int(row["workers"]) for row in found})
        up_to = str(workers[0]) if len(workers) == 1 else f"{workers[0]} to {workers[-1]}"
        of = f"{BY_TABLE[stage].worker}s"
        yield (
            f"{BY_TABLE[stage].title}: up to how many {of} each one pays",
            f"{up_to}, in {len(found)} series; the table says of each whether more were measured.",
        )
