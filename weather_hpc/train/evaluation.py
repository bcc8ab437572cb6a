"""Scores and predictions, and the report on held-out images: evaluation.json of a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.train.calibration import log_loss, tempered
from weather_hpc.train.loader import Rows

CALIBRATION_BINS = 15
"""Equal slices of confidence 0..1, as Guo et al. (2017, arXiv:1706.04599) use."""

DECIMALS = 6


def evaluation_report(
    labels: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    temperature: float | None = None,
) -> dict[str, Any]:
    """Measures of ``probabilities`` (images, classes) against ``labels`` (images,), JSON-able.

    ``confusion``: a row per true class, a column per predicted one, in images. ``per_class``:
    precision, recall and F1 (None where the class was never predicted or is in no image),
    ``macro_f1`` their mean over the classes that have images. ``calibration``: per slice of
    confidence how many images, the mean confidence and the accuracy;
    ``expected_calibration_error`` is their mean distance, weighted by images. ``calibrated``: log
    loss and that error with probabilities at ``temperature``, which was fitted on other images.
    """
    predicted = probabilities.argmax(axis=1)
    count = len(classes)
    confusion = np.bincount(labels * count + predicted, minlength=count * count)
    confusion = confusion.reshape(count, count)
    per_class = [_of_class(confusion, index, name) for index, name in enumerate(classes)]
    f1 = [entry["f1"] or 0.0 for entry in per_class if entry["images"]]
    bins = _calibration(probabilities.max(axis=1), predicted == labels)
    images = len(labels)
    calibrated = None
    if temperature is not None:
        surer = tempered(probabilities, temperature)
        calibrated = {
            "temperature": round(temperature, DECIMALS),
            "log_loss": round(log_loss(surer, labels), DECIMALS),
            "expected_calibration_error": calibration_error(surer, labels),
        }
    return {
        "images": images,
        "accuracy": round(float(np.trace(confusion)) / images, DECIMALS),
        "macro_f1": round(float(np.mean(f1)), DECIMALS),
        "log_loss": round(log_loss(probabilities, labels), DECIMALS),
        "expected_calibration_error": calibration_error(probabilities, labels),
        "calibrated": calibrated,
        "classes": list(classes),
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "calibration": bins,
    }


def calibration_error(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> float:
    """The mean distance of confidence and accuracy over slices of confidence, by images."""
    bins = _calibration(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    gaps = sum(bin_["images"] * abs(bin_["confidence"] - bin_["accuracy"]) for bin_ in bins)
    return round(float(gaps) / len(labels), DECIMALS)


def _of_class(confusion: npt.NDArray[np.int64], index: int, name: str) -> dict[str, Any]:
    right = int(confusion[index, index])
    images, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
    return {
        "class": name,
        "images": images,
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, images),
        "f1": _ratio(2 * right, images + predicted),
    }


def _calibration(
    confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """The slices that hold images, the least confident first."""
    slices = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins = []
    for index in np.unique(slices):
        chosen = slices == index
        bins.append(
            {
                "from": round(float(index) / CALIBRATION_BINS, DECIMALS),
                "to": round(float(index + 1) / CALIBRATION_BINS, DECIMALS),
                "images": int(chosen.sum()),
                "confidence": round(float(confidence[chosen].mean()), DECIMALS),
                "accuracy": round(float(right[chosen].mean()), DECIMALS),
            }
        )
    return bins


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, DECIMALS) if whole else None


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy (0..1) over ``images`` images."""

    loss: float
    accuracy: float
    images: int


@dataclass(frozen=True)
class Predictions:
    """Probabilities of the images of ``rows``: (rows, classes)."""

    rows: Rows
    probabilities: npt.NDArray[np.float32]
