"""What the networks learned, in sentences, the largest effect first."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from weather_hpc.analysis.candidates import Candidate, Work
from weather_hpc.analysis.statistics import (
    Z_95,
    interval_name,
    median,
    median_interval,
    overlap,
    wilson_interval,
)
from weather_hpc.report.learned import Learned
from weather_hpc.runs.evaluation import Evaluation
from weather_hpc.text import counted

STILL_FALLING = 0.02
"""A loss that the last epoch lowered by this share or more may fall further."""


class _Effect(NamedTuple):
    """A sentence, and how much accuracy it is about, 0 to 1."""

    size: float
    text: str


def learning_sentences(
    works: Sequence[Work], found: Sequence[Learned], evaluation: Evaluation | None
) -> list[str]:
    """What ``works`` and ``found`` show; ``evaluation`` is the most accurate run's."""
    effects = [
        *(effect for work in works for effect in _differences(work)),
        *_gap(found),
        *_above_chance(evaluation),
        *_still_falling(found),
    ]
    return [effect.text for effect in sorted(effects, key=lambda effect: -effect.size)]


class _Accuracy(NamedTuple):
    candidate: Candidate
    value: float
    images: int

    @property
    def variance(self) -> float:
        """Of the share of a sample of so many images."""
        return self.value * (1 - self.value) / self.images


def _differences(work: Work) -> Iterator[_Effect]:
    """How the least accurate configuration compares with the most accurate, at equal epochs."""
    known = [
        _Accuracy(one, one.accuracy, round(images))
        for one in work.candidates
        if one.accuracy is not None and (images := one.group.median("test_images"))
    ]
    if len(known) < 2:
        return
    top = max(known, key=lambda one: one.value)
    low = min(known, key=lambda one: one.value)
    epochs = top.candidate.group.settings.epochs
    after = f"After {counted(epochs, 'epoch')}" if epochs else "At the end"
    difference = top.value - low.value
    half = Z_95 * math.sqrt(top.variance + low.variance)
    if difference > half and not _repeats_overlap(top, low):
        yield _Effect(
            difference,
            f"{after} the test accuracy of {_named(low)} is {difference:.3f} below that of "
            f"{_named(top)}: 95 % interval {difference - half:.3f} to {difference + half:.3f} for "
            f"{counted(low.images, 'test image')}.",
        )
        return
    yield _Effect(
        0.0,
        f"{after} no difference in test accuracy is shown between {len(known)} configurations: "
        f"from {low.value:.3f} ({low.candidate.label}) to {top.value:.3f} "
        f"({top.candidate.label}); with {counted(top.images, 'test image')} only differences above "
        f"about {half:.3f} would show.",
    )


def _repeats_overlap(one: _Accuracy, other: _Accuracy) -> bool:
    return overlap(*(median_interval(_values(each)) for each in (one, other)))


def _values(one: _Accuracy) -> list[float]:
    return one.candidate.group.values("test_accuracy")


def _named(one: _Accuracy) -> str:
    """The configuration with its accuracy, and the spread of its repeats where there is one."""
    values = _values(one)
    low, high = median_interval(values)
    spread = ""
    if low is not None and high is not None and low < high:
        spread = f", {interval_name(len(values))} {low:.3f} to {high:.3f}"
    return f"{one.candidate.label} ({one.value:.3f}{spread})"


def _gap(found: Sequence[Learned]) -> Iterator[_Effect]:
    """The largest gap between training and held-out images in the last epoch."""
    gaps = []
    for one in found:
        last = [e for e in one.at(one.epochs) if None not in (e.accuracy, e.test_accuracy)]
        training = median([each.accuracy or 0.0 for each in last])
        test = median([each.test_accuracy or 0.0 for each in last])
        if training is not None and test is not None:
            gaps.append((training - test, training, test, one))
    if not gaps:
        return
    gap, training, test, one = max(gaps, key=lambda each: each[0])
    if gap <= 0:
        yield _Effect(
            0.0,
            "No configuration is more accurate on the training images, while it learns them, than "
            "on the held-out ones: no sign of overfitting.",
        )
        return
    yield _Effect(
        gap,
        f"In its last epoch {one.label} is right for {training:.3f} of the training images and "
        f"for {test:.3f} of the held-out ones: a gap of {gap:.3f}"
        + (", the largest of all configurations shown." if len(gaps) > 1 else "."),
    )


def _above_chance(evaluation: Evaluation | None) -> Iterator[_Effect]:
    """Whether the most accurate run is better than one answer for all images."""
    if evaluation is None or not evaluation.images:
        return
    images, right = evaluation.images, evaluation.correct()
    most = max(range(len(evaluation.classes)), key=lambda p: sum(evaluation.confusion[p]))
    chance = sum(evaluation.confusion[most]) / images
    low, high = wilson_interval(right, images)
    accuracy = f"{right / images:.3f} (95 % interval {low:.3f} to {high:.3f}, {images} images)"
    if (low or 0.0) <= chance:
        yield _Effect(
            1.0,
            f"No network is shown to have learned anything: the best is right for {accuracy} of "
            f"the held-out images, one answer for all of them for {chance:.3f}.",
        )
        return
    yield _Effect(
        right / images - chance,
        f"The most accurate network is right for {accuracy} of the held-out images; one answer "
        f"for all of them would be for {chance:.3f}.",
    )


def _still_falling(found: Sequence[Learned]) -> Iterator[_Effect]:
    """How many configurations had not finished learning."""
    falling, judged = [], 0
    for one in found:
        last, before = (
            median([each.loss for each in one.at(epoch) if each.loss is not None])
            for epoch in (one.epochs, one.epochs - 1)
        )
        if last is None or before is None or before <= 0:
            continue
        judged += 1
        if 1 - last / before >= STILL_FALLING:
            falling.append((1 - last / before, one))
    if falling:
        share, one = max(falling, key=lambda each: each[0])
        yield _Effect(
            0.0,
            f"The training loss of {len(falling)} of {counted(judged, 'configuration')} was still "
            f"falling, by up to {100 * share:.0f} % in the last epoch ({one.label}): more epochs "
            "may lower it further.",
        )
