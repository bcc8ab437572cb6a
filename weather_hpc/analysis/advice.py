"""Advice: which configuration to run, judged by what was measured, and how certain that is."""

import dataclasses
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from weather_hpc.analysis.allocation import Allocation
from weather_hpc.analysis.candidates import Candidate, Work, all_works, joined
from weather_hpc.analysis.choices import ACCURACY_TOLERANCE, Answer, choices
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.end_to_end import end_to_end
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    PERCENTILES,
    median,
    resampled_medians,
)
from weather_hpc.analysis.table import Table
from weather_hpc.study.settings import SETTINGS
from weather_hpc.study.tasks import Device
from weather_hpc.text import brief, counted

THRESHOLD = 0.5
"""Marginal efficiency below which an added worker does not pay."""


RULE = (
    "knee is the largest number of workers up to which every step to more of them has a marginal "
    f"efficiency of at least {THRESHOLD:g}: speed gained for each added worker, over the speed for "
    "each worker at the series' smallest size."
)

ADVICE_COLUMNS = [field.name for field in dataclasses.fields(Answer)]

_CAPTION = (
    "Chosen among configurations that do the same work (work, where there are several). fastest: "
    "the least time_s (weak scaling: the most images per second); fastest_without_loss: the same "
    f"among those within {ACCURACY_TOLERANCE:g} of the best test accuracy, where others are not; "
    "cheapest: the least node_hours, which is nodes x the whole duration of the job, start-up "
    "included; deadline: the cheapest whose time_s meets it; budget: the fastest that costs no "
    f"more node_hours for a run. {RULE} cpu_workers_per_gpu: how many workers decode as "
    "many images per second as one device trains on. end_to_end: preprocessing, then training "
    "without a loss of accuracy, in the allocation that work names (of each node); time_s, its "
    "interval and node_hours are sums of both. doubt says why others may be as good; "
    "statistically indistinguishable: the bootstrap intervals overlap. Configurations with audit "
    "errors in their runs are left out."
)


def advice_table(
    comparison: Comparison,
    *,
    deadline_s: float | None = None,
    budget_node_hours: float | None = None,
    allocation: Allocation | None = None,
    distrust: str = "",
) -> Table:
    """One row for each question on each work; where there is no answer, ``reason`` says why.

    ``deadline_s`` (seconds of measured time) and ``budget_node_hours`` (of one run) each add a
    question. ``allocation`` is what preprocessing and training have end to end; None: as large as
    what was measured, and smaller. ``distrust`` is a doubt in all of them; empty: there is none.
    """
    works = all_works(comparison)
    answers = [
        dataclasses.replace(answer, stage=work.stage, work=work.label)
        for work in works
        for answer in choices(work, deadline_s, budget_node_hours)
    ]
    measured = {work.stage for work in works}
    answers += [
        Answer(question="fastest", stage=table.name, reason="no run was measured")
        for table in comparison.tables
        if table.rows and table.name not in measured
    ]
    answers += map(knee, comparison.series)
    answers += cpu_workers_per_gpu(works)
    answers += end_to_end(works, allocation)
    rows = [
        vars(answer)
        | {"doubt": joined(answer.doubt or "", distrust if answer.answer else "") or None}
        for answer in answers
    ]
    return Table("advice", "Advice", _CAPTION, ADVICE_COLUMNS, rows)


SMALL_WAIT = 0.01
"""Share of the measured time below which training hardly waits for data."""


_SAME = ("study", "data", "image_size_px")


def cpu_workers_per_gpu(works: Sequence[Work]) -> list[Answer]:
    """For each training work: how many workers decode for one device, or why that is unknown."""
    decoding = [c for work in works if work.stage == "preprocess" for c in work.candidates]
    return [
        dataclasses.replace(_workers_for(work, decoding), stage=work.stage, work=work.label)
        for work in works
        if work.stage == "training"
    ]


def _workers_for(work: Work, decoding: Sequence[Candidate]) -> Answer:
    question = "cpu_workers_per_gpu"
    trained = [c for c in work.candidates if c.images_per_s is not None and c.workers]
    on_gpu = [c for c in trained if c.group.settings.device == Device.CUDA]
    if not trained:
        return Answer(question=question, reason="no training run reports its images per second")
    fastest = max(on_gpu or trained, key=_each)
    need = _each(fastest)
    demand = _demand(fastest, "one GPU" if on_gpu else "one CPU rank (no GPU was measured)")
    same = [getattr(fastest.group.settings, name) for name in _SAME]
    decoders = [
        c
        for c in decoding
        if c.images_per_s
        and c.workers
        and [getattr(c.group.settings, name) for name in _SAME] == same
        and c.group.settings.color in (None, SETTINGS["color"].default)  # as training reads them
    ]
    if not decoders:
        reason = f"{demand}, but no preprocessing of the same images was measured"
        return Answer(question=question, reason=reason)
    own_cpus = [c for c in decoders if not c.group.sharing]
    workers, supply, run = _supply(own_cpus or decoders, need)
    return Answer(
        question=question,
        answer=counted(workers, "worker") if run else f"{workers} or more workers, not run",
        workers=workers,
        images_per_s=need,
        reason="; ".join(filter(None, [demand, supply, _store(fastest)])),
    )


def _demand(fastest: Candidate, device: str) -> str:
    """What one device trains on, such as ``one GPU takes 500 images/s (1000 by ..., over 2)``."""
    measured = f"{brief(fastest.images_per_s or 0)} by {fastest.label}"
    if fastest.workers != 1:
        measured += f", over {fastest.workers}"
    return f"{device} takes {brief(_each(fastest))} images/s ({measured})"


def _supply(decoders: Sequence[Candidate], need: float) -> tuple[int, str, bool]:
    """How many workers decode ``need`` images per second, how that follows, and whether such a
    configuration was run."""
    enough = [c for c in decoders if (c.images_per_s or 0) >= need]
    if enough:
        least = min(enough, key=lambda c: (c.workers or 0, -(c.images_per_s or 0)))
        return least.workers or 0, f"{least.label} decodes {brief(least.images_per_s or 0)}", True
    most = max(decoders, key=lambda c: c.images_per_s or 0)
    workers = math.ceil(need / _each(most))
    rate = f"{brief(most.images_per_s or 0)}, {brief(_each(most))} per worker"
    return (
        workers,
        (
            f"more than any measured configuration decodes; {most.label} decodes {rate}, so at "
            f"that rate {brief(need)} / {brief(_each(most))} is {workers} or more: a prediction"
        ),
        False,
    )


def _each(candidate: Candidate) -> float:
    """Images per second of one of its workers or ranks."""
    return (candidate.images_per_s or 0.0) / (candidate.workers or 1)


def _store(candidate: Candidate) -> str:
    """How long training from the packed store waited for data; empty where not measured."""
    waited = candidate.group.median("data_wait_s")
    if waited is None or not candidate.time_s:
        return ""
    share = waited / candidate.time_s
    needs = "needs none of them" if share <= SMALL_WAIT else "needs fewer"
    return f"from the packed store it {needs}: it waited {100 * share:.1f} % of the time for data"


def knee(series: Series) -> Answer:
    """The knee of ``series``, or why there is none."""
    none = Answer(question="knee", stage=series.table, work=series.label)
    left_out, series = series.shared, series.with_own_cpus
    points = [g for g in series.points if g.settings.workers and min(g.speeds, default=0.0) > 0]
    if series.problem:
        return dataclasses.replace(none, reason=series.problem)
    if len(points) <= 1:
        reason = "measured at one size only: what more workers would bring is unknown"
        return dataclasses.replace(none, reason=reason)
    first, best, reason = points[0], points[0], ""
    for fewer, more in pairwise(points):
        margin = _margin(first, fewer, more)
        size = counted(more.settings.workers, series.unit)
        step = f"the step to {size} has a marginal efficiency of {margin:.2f}"
        step += _margin_interval(first, fewer, more)
        if margin < THRESHOLD:
            reason = f"{step}, below {THRESHOLD:g}"
            break
        best, reason = more, f"the most measured: {step}"
    if left_out:
        reason += f"; left out: {left_out}"
    name = f"{series.label}, {counted(best.settings.workers, series.unit)}"
    chosen = Candidate(name, best, _efficiency(first, best))
    return Answer.choose(
        chosen, question="knee", stage=series.table, work=series.label, reason=reason
    )


def _speed(group: Group) -> float:
    """Work per second: images per second in weak scaling, else runs per second."""
    middle = median(group.speeds) or 0.0
    return middle if group.is_weak else 1 / middle


def _efficiency(first: Group, group: Group) -> float:
    return _speed(group) / _workers(group) / (_speed(first) / _workers(first))


def _margin(first: Group, fewer: Group, more: Group) -> float:
    gain = (_speed(more) - _speed(fewer)) / (_workers(more) - _workers(fewer))
    return gain / (_speed(first) / _workers(first))


def _margin_interval(first: Group, fewer: Group, more: Group) -> str:
    """The margin's bootstrap interval as text; empty below three runs of any of them."""
    if min(len(group.speeds) for group in (first, fewer, more)) < FEWEST_REPEATS:
        return ""
    base = _resampled(first, 0)
    below = base if fewer is first else _resampled(fewer, 1)
    added = _workers(more) - _workers(fewer)
    margins = (_resampled(more, 2) - below) / added / (base / _workers(first))
    low, high = map(float, np.percentile(margins, PERCENTILES))
    unsure = ", on either side of the threshold" if low < THRESHOLD <= high else ""
    return f" ({low:.2f} to {high:.2f}{unsure})"


def _resampled(group: Group, stream: int) -> NDArray[np.float64]:
    medians = resampled_medians(group.speeds, stream)
    return medians if group.is_weak else 1 / medians


def _workers(group: Group) -> int:
    return group.settings.workers or 1
