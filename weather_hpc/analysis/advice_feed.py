"""How many CPU workers keep one training device busy, by what both were measured to do."""

import math
from collections.abc import Sequence
from typing import Any

from weather_hpc.analysis.advice_candidates import Candidate, Work, figure
from weather_hpc.study.spec import Device
from weather_hpc.text import counted

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
    on_gpu = [c for c in trained if c.group.asked.device == Device.CUDA]
    if not trained:
        return {"reason": "no training run tells its images per second"}
    hungriest = max(on_gpu or trained, key=_each)
    asked = hungriest.group.asked
    decoders = [
        c
        for c in decoding
        if c.images_per_s
        and c.workers
        and all(getattr(c.group.asked, name) == getattr(asked, name) for name in _SAME)
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
