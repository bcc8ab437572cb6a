"""How often the network is right, against how sure it is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weather_hpc.analysis.statistics import wilson_interval
from weather_hpc.report.colours import FAINT, PALETTE
from weather_hpc.report.drawing import SINGLE_WIDTH, Drawing
from weather_hpc.runs.evaluation import Bin, Evaluation
from weather_hpc.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, TITLE = "calibration", "Calibration"
_LARGEST = 160
"""Area of the marker of the slice with the most images, points squared."""


def calibration_plot(evaluation: Evaluation) -> Drawing:
    """A reliability diagram: accuracy by probability of the predicted class."""
    bins = [each for each in evaluation.calibration if each.images]
    if not bins:
        return Drawing(NAME, TITLE, "no probabilities were recorded")
    parts = [
        f"{each.confidence:.2f}: {each.accuracy:.2f} of {counted(each.images, 'image')}"
        for each in bins
    ]
    text = f"Accuracy by mean probability of the predicted class. {'; '.join(parts)}."
    rows = [each.model_dump(by_alias=True) for each in bins]
    return Drawing(
        NAME, TITLE, text, lambda figure: _draw(figure, bins), (SINGLE_WIDTH, 4.8), data=rows
    )


def calibration_sentences(evaluation: Evaluation) -> Iterator[str]:
    """The expected calibration error, how it was computed, and in which direction it errs."""
    error = evaluation.expected_calibration_error
    if error is None or not evaluation.calibration or not evaluation.images:
        return
    confidence = sum(b.images * b.confidence for b in evaluation.calibration) / evaluation.images
    accuracy = evaluation.correct() / evaluation.images
    slices = round(1 / (evaluation.calibration[0].high - evaluation.calibration[0].low))
    low, high = wilson_interval(evaluation.correct(), evaluation.images)
    judged = "which agrees within that interval"
    if not (low or 0.0) <= confidence <= (high or 1.0):
        judged = f"so it is {'too sure' if confidence > accuracy else 'not sure enough'}"
    yield (
        f"The network's mean probability is {confidence:.2f}, and it is right for {accuracy:.2f} "
        f"of the held-out images (95 % interval {low:.2f} to {high:.2f}), {judged}; expected "
        f"calibration error {error:.3f} (over {slices} equal slices of probability, weighted by "
        "images)."
    )
    if after := evaluation.calibrated:
        yield (
            f"At temperature {after.temperature:.2f}, fitted on images held apart, the error is "
            f"{after.expected_calibration_error:.3f}."
        )


def _draw(figure: "Figure", bins: list[Bin]) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=(0, (1, 1)), label="as often right as it says")
    xs = [each.confidence for each in bins]
    ys = [each.accuracy for each in bins]
    ends = [wilson_interval(round(each.accuracy * each.images), each.images) for each in bins]
    bars = [
        [max(0.0, y - (low or 0.0)) for y, (low, _) in zip(ys, ends, strict=True)],
        [max(0.0, (high or 0.0) - y) for y, (_, high) in zip(ys, ends, strict=True)],
    ]
    # not clipped: marks at 0 and 1 stay whole
    axes.errorbar(xs, ys, yerr=bars, fmt="none", ecolor=PALETTE[0], capsize=3, clip_on=False)
    most = max(each.images for each in bins)
    areas = [max(12.0, _LARGEST * each.images / most) for each in bins]
    label = "held-out images, with 95 % interval"
    axes.scatter(xs, ys, s=areas, color=PALETTE[0], zorder=3, clip_on=False, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the predicted class")
    axes.set_ylabel("share that is right")
    axes.set_title(TITLE)
    figure.legend(loc="outside lower left", ncols=1)
