"""The result of a collection in a few lines for the terminal."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from weather_hpc.analysis.advice_sentences import MOST_WORKS
from weather_hpc.analysis.end_to_end import QUESTION
from weather_hpc.analysis.questions import LIMITS, USUAL, question_words
from weather_hpc.analysis.statistics import interval_name
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.analysis.verdict import Trust
from weather_hpc.report.findings import rejects_table
from weather_hpc.runs.ending import in_words
from weather_hpc.runs.row import Row
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted, significant

MOST_SENTENCES = 5
MOST_REASONS = 5

PIPE_WIDTH, WIDEST = 100, 120
"""Columns where stdout is no terminal; the most that sentences take."""


def choices(
    advice: Table, tables: Iterable[ScalingTable], *, allocation: bool = False
) -> list[dict[str, Any]]:
    """What the advice says to run: an answer with its values for each stage, work and question.

    Default questions with one answer share it; those without one are left out. The best mix of
    both stages is there where an ``allocation`` was asked for.
    """
    measured = {(table.name, table.label(row)): row for table in tables for row in table.rows}
    asked = (*LIMITS, *([QUESTION] * allocation))
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in advice.rows:
        question, answer = row["question"], row["answer"]
        default = question in USUAL
        if not (answer if default else question.startswith(asked)):
            continue
        key = row["stage"], row["work"], answer if default else question
        values = measured.get((row["stage"], answer), {})
        names = ("time_s", "time_s_low", "time_s_high", "node_hours", "test_accuracy")
        more = ("speedup", "speedup_low", "speedup_high", "runs")
        choice = found.setdefault(key, {
            "stage": row["stage"], "work": row["work"] or None, "questions": [],
            "answer": answer, "reason": row["reason"], "doubts": [],
            **{name: row[name] for name in names}, **{name: values.get(name) for name in more},
        })  # fmt: skip
        choice["questions"].append(_question(question, row["doubt"]))
        if row["doubt"] and row["doubt"] not in choice["doubts"]:
            choice["doubts"].append(row["doubt"])
    return list(found.values())


def _question(name: str, doubt: str | None) -> str:
    """What the terminal calls a question."""
    return "one after the other" if name == QUESTION else question_words(name, doubt)


def reject_reasons(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Why runs are in no table: how many ended alike, examples, and the reason."""
    names = ("status", "runs", "run_id", "reason")
    return [{name: row[name] for name in names} for row in rejects_table(rows).rows]


def ends(rows: Iterable[Row]) -> dict[str, int]:
    """How many runs that are in no table ended in each way, in words."""
    return dict(Counter(in_words(row) for row in rows if row.is_rejected))


def summary_text(summary: dict[str, Any], width: int | None = None) -> str:
    """The result of :func:`weather_hpc.collect.pipeline.collect` for a terminal of ``width``.

    None: that of stdout. It has the number of runs, what to run of each stage, the most important
    sentences, why runs were rejected, and the report's path.
    """
    width = width or shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    parts = [
        [_counts(summary)],
        list(_choice_lines(summary["choices"], width)),
        list(_bullets(_sentences(summary), width)),
        list(_reject_lines(summary, width)),
        [f"report: {summary['report']}"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _counts(summary: dict[str, Any]) -> str:
    ends = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in summary["ends"].items())
    findings = ", ".join(counted(n, name) for name, n in summary["findings"].items() if n)
    tables = f"{summary['in_tables']} in tables" + (f", {ends}" if ends else "")
    return f"{counted(summary['runs'], 'run')}: {tables}; audit: {findings or 'no findings'}"


def _sentences(summary: dict[str, Any]) -> list[str]:
    """The reference's outcome, the verdict where there is a reservation, the largest effects."""
    first = [*summary["left_out"]]
    first += [summary["reference"]["summary"]] if summary["reference"] else []
    verdict = summary["verdict"]
    if verdict is not None and verdict["trust"] != Trust.GREEN:
        first.append(f"{verdict['trust'].capitalize()}: {verdict['text']}")
    return [*first, *summary["headlines"][:MOST_SENTENCES]]


def _bullets(sentences: Sequence[str], width: int) -> Iterator[str]:
    for sentence in sentences:
        yield _filled(sentence, width, "- ")


def _filled(text: str, width: int, indent: str) -> str:
    return textwrap.fill(
        text, min(width, WIDEST), initial_indent=indent, subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _choice_lines(found: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """A table of what to run; configurations have lines of their own where it is too wide."""
    heads = ("", "time, s", "speedup", "node-hours", "accuracy")
    shown = [choice for choice in found if choice["work"] in _works(found, choice["stage"])]
    cells = [_cells(choice) for choice in shown if choice["answer"]]
    if not shown:
        return
    kept = [n for n in range(len(heads)) if n == 0 or any(row[n] for row in cells)]
    widths = {n: max(len(row[n]) for row in [heads, *cells]) for n in kept}

    def line(row: Sequence[str]) -> str:
        return "  ".join(row[n].ljust(widths[n]) for n in kept).rstrip()

    wide = sum(widths.values()) + 2 * len(kept) + max(len(str(c["answer"])) for c in shown) <= width
    if cells:
        yield line(heads)
    stage = work = None
    for choice in shown:
        if (choice["stage"], choice["work"]) != (stage, work):
            stage, work = choice["stage"], choice["work"]
            title = BY_TABLE[stage].title if stage in BY_TABLE else "Preprocessing and training"
            yield title + (f" ({work})" if work else "")
        if choice["answer"] is None:
            text = f"{', '.join(choice['questions'])}: no answer, {choice['reason']}"
            yield _filled(text, width, "  ")
        elif wide:
            row = _cells(choice)
            yield "  ".join(row[n].ljust(widths[n]) for n in kept) + f"  {choice['answer']}"
        else:
            yield line(_cells(choice))
            yield f"    {choice['answer']}"
    names = {interval_name(c["runs"]) for c in shown if c["runs"] and c["time_s_low"] is not None}
    if names:
        yield f"(in parentheses: {' or '.join(sorted(names))})"
    left = {(c["stage"], c["work"]) for c in found} - {(c["stage"], c["work"]) for c in shown}
    if left:
        yield f"{counted(len(left), 'more work')}: tables/advice.csv"


def _works(found: Sequence[dict[str, Any]], stage: str) -> list[str | None]:
    """The first works of a stage."""
    return list(dict.fromkeys(c["work"] for c in found if c["stage"] == stage))[:MOST_WORKS]


def _cells(choice: dict[str, Any]) -> tuple[str, ...]:
    accuracy, hours = choice["test_accuracy"], choice["node_hours"]
    return (
        f"  {', '.join(choice['questions'])}",
        _with_interval(choice, "time_s"),
        _with_interval(choice, "speedup"),
        "" if hours is None else significant(hours),
        "" if accuracy is None else f"{accuracy:.3f}",
    )


def _with_interval(choice: dict[str, Any], name: str) -> str:
    value, low, high = (choice[name + end] for end in ("", "_low", "_high"))
    if value is None:
        return ""
    interval = "" if low is None else f" ({significant(low)}-{significant(high)})"
    return significant(value) + interval


def _reject_lines(summary: dict[str, Any], width: int) -> Iterator[str]:
    found = summary["rejects_by_reason"]
    if not found:
        return
    of = f"{summary['rejected']} of {counted(summary['runs'], 'run')}"
    yield f"{of} {'is' if summary['rejected'] == 1 else 'are'} in no table (rejects.csv has each):"
    for one in found[:MOST_REASONS]:
        yield _cut(f"  {one['runs']} {one['status'].replace('_', ' ')}: {one['reason']}", width)
    if left := found[MOST_REASONS:]:
        runs = counted(sum(one["runs"] for one in left), "run")
        yield f"  {runs} for {counted(len(left), 'further reason')}"


def _cut(text: str, width: int) -> str:
    width = min(width, WIDEST)
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."
