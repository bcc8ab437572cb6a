"""The report's section on predictions for new images: sheets, sentences and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.collected import Collected
from weather_hpc.report.picture import Picture
from weather_hpc.report.section import ReportSection
from weather_hpc.runs.predictions import Accuracy, PredictionSummary
from weather_hpc.text import clean, counted

NAME = "predictions"
"""Name of the table, the section and the first sheet."""

COLUMNS = [
    "file", "predicted", "probability", "second", "second_probability", "third",
    "third_probability", "low_confidence", "true_class", "correct", "run_id",
    "unlike_training", "uncalibrated_probability",
]  # fmt: skip

ACCURACY_COLUMNS = [
    "true_class", "images", "correct", "accuracy", "accuracy_low", "accuracy_high", "run_id",
]  # fmt: skip

_MOST_NAMES = 40
"""Names that a sentence lists."""


@dataclass(frozen=True)
class NewImages:
    """What one run of stage ``predict`` left."""

    run_id: str
    run_folder: str
    """The run's folder: ``runs/<name>``."""
    images: str
    """The folder of new images."""
    summary: PredictionSummary
    rows: list[dict[str, Any]]
    """Its predictions.csv: the columns of the table, without ``run_id``."""
    sheet: bytes | None
    """The first sheet, PNG; None: there is none."""

    def sentences(self) -> Iterator[str]:
        """What was classified, with which network, and how well."""
        summary = self.summary
        chosen = ""
        if summary.configuration is not None and summary.test_accuracy is not None:
            chosen = (
                f", whose configuration {summary.configuration} has the highest test accuracy of "
                f"the study (median {summary.test_accuracy:.3f})"
            )
        network = f"run {summary.run}" if summary.run else summary.checkpoint
        images = counted(summary.images, "image")
        yield clean(f"{images} in {self.images}, classified by {network}{chosen}.")
        if summary.accuracy is None:
            yield "Accuracy is not known: no image lies in a folder with the name of a known class."
        yield from (f"{line[0].upper()}{line[1:]}." for line in map(clean, summary.sentences()))
        yield f"The network knows the classes {_listed(summary.known_classes)}."
        if summary.skipped:
            files = counted(len(summary.skipped), "file")
            yield f"{files} could not be classified; {self.run_folder}/skipped.csv says why."

    def picture(self, name: str) -> Picture | None:
        """The first sheet."""
        if self.sheet is None:
            return None
        sheets = len(self.summary.sheets)
        title = "New images with their predicted classes"
        if sheets > 1:
            title += f" (the first of {sheets} sheets; all are in {self.run_folder})"
        text = "Thumbnails of new images, each with its three most probable classes; the table "
        return Picture(name, title, text + "has the same values.", self.sheet)


@dataclass(frozen=True)
class PredictionsTable(Table):
    """Every classified image; with what else the section on predictions has."""

    by_class: Table
    """Accuracy by true class; without rows where no true class is known."""
    sentences: tuple[str, ...]
    pictures: tuple[Picture, ...]


def predictions_table(found: Sequence[NewImages]) -> PredictionsTable:
    """The predictions of all runs in ``found``."""
    names = [NAME if number == 1 else f"{NAME}-{number}" for number in range(1, len(found) + 1)]
    pictures = (one.picture(name) for one, name in zip(found, names, strict=True))
    return PredictionsTable(
        NAME,
        "Predictions",
        "The three most probable classes with their probabilities. low_confidence: the first "
        "probability is below the threshold above. true_class: the class that the image's folder "
        "is named like; empty where the network knows no such class. unlike_training: farther from "
        "the training images than nearly all images held apart; empty where not known. "
        "uncalibrated_probability: the first probability as the network gives it.",
        COLUMNS,
        [row | {"run_id": one.run_id} for one in found for row in one.rows],
        by_class=Table(
            "prediction_accuracy",
            "Accuracy by true class",
            "Share of the images that were classified correctly, with its 95 % interval after "
            "Wilson (1927).",
            ACCURACY_COLUMNS,
            [row for one in found for row in _accuracies(one)],
        ),
        sentences=tuple(sentence for one in found for sentence in one.sentences()),
        pictures=tuple(picture for picture in pictures if picture is not None),
    )


def _accuracies(one: NewImages) -> Iterator[dict[str, Any]]:
    summary = one.summary
    overall = [("all", summary.accuracy)] if summary.accuracy else []
    for name, accuracy in (*summary.accuracy_by_class.items(), *overall):
        yield {"true_class": clean(name), "run_id": one.run_id, **_cells(accuracy)}


def _cells(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "images": accuracy.images,
        "correct": accuracy.correct,
        "accuracy": accuracy.accuracy,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
    }


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return clean(", ".join(names[:_MOST_NAMES])) + more


def predictions_section(collected: Collected) -> ReportSection:
    """What the study's best network says of new images."""
    table = collected.table(NAME)
    if not isinstance(table, PredictionsTable):
        return ReportSection(NAME, "Predictions on new images", optional=True)
    return ReportSection(
        NAME,
        "Predictions on new images",
        sentences=table.sentences,
        tables=[each for each in (table.by_class, table) if each.rows],
        pictures=table.pictures,
    )
