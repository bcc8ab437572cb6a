"""Advice: which configuration to take, by what was measured, and how sure that is."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weather_hpc.analysis.choices import (
    ACCURACY_TOLERANCE,
    Candidate,
    Work,
    all_works,
    choices,
    figure,
)
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    PERCENTILES,
    median,
    resampled_medians,
)
from weather_hpc.analysis.table import Table
from weather_hpc.study.spec import Device
from weather_hpc.text import counted

THRESHOLD = 0.5
"""Marginal efficiency under which an added worker does not pay."""


RULE = (
    "knee is the largest number of workers up to which every step to more of them has a marginal "
    f"efficiency of at least {THRESHOLD:g}: speed gained for each added worker, over the speed for "
    "each worker at the series' smallest size."
)

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
    comparison: Comparison,
    *,
    deadline_s: float | None = None,
    budget_node_hours: float | None = None,
) -> Table:
    """One row for each question on each work; where there is no answer, ``reason`` tells why.

    ``deadline_s`` (seconds of measured time) and
    ``budget_node_hours`` (of one run) add their questions.
    """
    works = all_works(comparison)
    lines = [
        {"stage": work.stage, "work": work.label, **line}
        for work in works
        for line in choices(work, deadline_s, budget_node_hours)
    ]
    measured = {work.stage for work in works}
    lines += [
        {"question": "fastest", "stage": table.name, "reason": "no run was measured"}
        for table in comparison.tables
        if table.rows and table.name not in measured
    ]
    lines += map(knee, comparison.series)
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


SMALL_WAIT = 0.01
"""Share of the measured time that training may wait for data and still be called busy."""


_SAME = ("study", "data", "image_size_px")


def cpu_workers_per_gpu(works: Sequence[Work]) -> list[dict[str, Any]]:
    """A line of advice for each training work: the workers, or which figure is missing."""
    decoding = [c for work in works if work.stage == "preprocess" for c in work.candidates]
    return [
        {
            "question": "cpu_workers_per_gpu",
            "stage": work.stage,
            "work": work.label,
            **_answer(work, decoding),
        }
        for work in works
        if work.stage == "training"
    ]


def _answer(work: Work, decoding: Sequence[Candidate]) -> dict[str, Any]:
    trained = [c for c in work.candidates if c.images_per_s is not None and c.workers]
    on_gpu = [c for c in trained if c.group.settings.device == Device.CUDA]
    if not trained:
        return {"reason": "no training run tells its images per second"}
    hungriest = max(on_gpu or trained, key=_each)
    asked = hungriest.group.settings
    decoders = [
        c
        for c in decoding
        if c.images_per_s
        and c.workers
        and all(getattr(c.group.settings, name) == getattr(asked, name) for name in _SAME)
    ]
    need = _each(hungriest)
    eats = (
        f"{'one GPU' if on_gpu else 'one CPU rank (no GPU was measured)'} takes "
        f"{figure(need)} images/s ({figure(hungriest.images_per_s or 0)} by {hungriest.label}"
        f"{f', over {hungriest.workers}' if hungriest.workers != 1 else ''})"
    )
    if not decoders:
        return {"reason": f"{eats}, but no preprocessing of the same images was measured"}
    enough = [c for c in decoders if (c.images_per_s or 0) >= need]
    if enough:
        least = min(enough, key=lambda c: (c.workers or 0, -(c.images_per_s or 0)))
        count, sum_ = least.workers, f"{least.label} decodes {figure(least.images_per_s or 0)}"
    else:
        most = max(decoders, key=lambda c: c.images_per_s or 0)
        count = math.ceil(need / _each(most))
        sum_ = (
            f"more than any measured decodes; {most.label} decodes "
            f"{figure(most.images_per_s or 0)}, {figure(_each(most))} each, so at that rate "
            f"{figure(need)} / {figure(_each(most))} is {count} or more"
        )
    return {
        "answer": counted(count, "worker"),
        "workers": count,
        "images_per_s": need,
        "reason": "; ".join(filter(None, [f"{eats}; {sum_}", _store(hungriest)])),
    }


def _each(candidate: Candidate) -> float:
    """Images per second of one of its workers or ranks."""
    return (candidate.images_per_s or 0.0) / (candidate.workers or 1)


def _store(candidate: Candidate) -> str:
    """What training from the packed store waits for data, in words; empty where not measured."""
    waited = candidate.group.median("data_wait_s")
    if waited is None or not candidate.time_s:
        return ""
    share = waited / candidate.time_s
    needs = "needs none of them" if share <= SMALL_WAIT else "needs fewer"
    return f"from the packed store it {needs}: it waited {100 * share:.1f} % of the time for data"


def knee(series: Series) -> dict[str, Any]:
    """The line of advice on ``series``: its knee, or the reason why there is none."""
    line = {"question": "knee", "stage": series.table, "work": series.label}
    points = [g for g in series.points if g.settings.workers and min(g.speeds, default=0.0) > 0]
    if series.problem:
        return line | {"reason": series.problem}
    if len(points) <= 1:
        return line | {"reason": "measured at one size only: nothing tells what more would bring"}
    first, best, said = points[0], points[0], ""
    for fewer, more in pairwise(points):
        margin = _margin(first, fewer, more)
        size = counted(more.settings.workers, series.unit)
        step = f"the step to {size} has a marginal efficiency of {margin:.2f}"
        step += _doubt(first, fewer, more)
        if margin < THRESHOLD:
            said = f"{step}, under {THRESHOLD:g}"
            break
        best, said = more, f"the most measured: {step}"
    name = f"{series.label}, {counted(best.settings.workers, series.unit)}"
    return line | Candidate(name, best, _efficiency(first, best)).figures | {"reason": said}


def _speed(group: Group) -> float:
    """Work per second: images per second in weak scaling, else runs per second."""
    middle = median(group.speeds) or 0.0
    return middle if group.is_weak else 1 / middle


def _efficiency(first: Group, group: Group) -> float:
    return _speed(group) / _workers(group) / (_speed(first) / _workers(first))


def _margin(first: Group, fewer: Group, more: Group) -> float:
    gain = (_speed(more) - _speed(fewer)) / (_workers(more) - _workers(fewer))
    return gain / (_speed(first) / _workers(first))


def _doubt(first: Group, fewer: Group, more: Group) -> str:
    """The margin's 95 % bootstrap interval in words; empty under three runs of any of them."""
    if min(len(group.speeds) for group in (first, fewer, more)) < FEWEST_REPEATS:
        return ""
    base = _resampled(first, 0)
    below = base if fewer is first else _resampled(fewer, 1)
    added = _workers(more) - _workers(fewer)
    margins = (_resampled(more, 2) - below) / added / (base / _workers(first))
    low, high = map(float, np.percentile(margins, PERCENTILES))
    unsure = ", which may be on either side" if low < THRESHOLD <= high else ""
    return f" ({low:.2f} to {high:.2f}{unsure})"


def _resampled(group: Group, stream: int) -> NDArray[np.float64]:
    medians = resampled_medians(group.speeds, stream)
    return medians if group.is_weak else 1 / medians


def _workers(group: Group) -> int:
    return group.settings.workers or 1
