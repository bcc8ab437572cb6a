"""PredictionSummary: what the verb predict leaves beside predictions.csv. Crosses to collect."""

from pydantic import Field

from weather_hpc.runs.record import Part
from weather_hpc.text import counted

FIRST_COLUMNS = ["file", "predicted", "probability"]
"""The first columns of predictions.csv; then comes one for each class that the network knows."""

MOST_FOLDERS = 20
"""Folders that a sentence lists."""

LAST_COLUMNS = [
    "second", "second_probability", "third", "third_probability", "low_confidence", "true_class",
    "correct", "unlike_training", "uncalibrated_probability",
]  # fmt: skip
"""The last columns of predictions.csv."""

SINCE = ("unlike_training", "uncalibrated_probability")
"""Those that earlier versions did not write."""


class Accuracy(Part):
    """The share of images that were classified correctly, of those whose class is known."""

    images: int = Field(ge=1, description="number of images whose true class is known")
    correct: int = Field(ge=0, description="number of them that were classified correctly")
    accuracy: float = Field(ge=0, le=1, description="share of them, 0 to 1")
    low: float = Field(ge=0, le=1, description="lower end of its 95 % interval (Wilson)")
    high: float = Field(ge=0, le=1, description="upper end of its 95 % interval (Wilson)")

    def __str__(self) -> str:
        share = f"{self.accuracy:.1%} ({self.correct} of {self.images} images"
        return f"{share}, 95 % interval {self.low:.1%} to {self.high:.1%})"


class SkippedFile(Part):
    """A file that could not be classified."""

    file: str
    reason: str


class PredictionSummary(Part):
    """One call of the verb predict, as ``summary.json`` and ``--json`` have it."""

    images: int = Field(ge=0, description="number of classified images")
    classes: dict[str, int] = Field(description="number of images by predicted class")
    skipped: list[SkippedFile] = Field(description="files that could not be classified")
    predictions: str = Field(description="path of predictions.csv")
    sheets: list[str] = Field(description="paths of the sheets of images")
    checkpoint: str = Field(description="path of the network's checkpoint")
    run: str | None = Field(None, description="run that trained the network; null: not known")
    configuration: str | None = Field(
        None, description="its configuration, the most accurate of its study; null: not chosen so"
    )
    test_accuracy: float | None = Field(
        None, ge=0, le=1, description="median test accuracy of that configuration, 0 to 1"
    )
    known_classes: list[str] = Field(description="classes that the network knows")
    low_confidence: float = Field(
        ge=0, le=1, description="probability below which a prediction is marked"
    )
    averaged: bool = Field(
        False, description="whether probabilities are averaged with those of the mirror image"
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="what calibrates the probabilities; null: they are not calibrated, the "
        "training held no images apart",
    )
    held_apart_images: int | None = Field(
        None, ge=1, description="number of images held apart that this is from"
    )
    unlike_share: float | None = Field(
        None, gt=0, lt=1, description="share of images like the training images that is marked too"
    )
    unlike_images: int | None = Field(
        None, ge=0, description="number of images marked as unlike the training images"
    )
    low_confidence_images: int = Field(ge=0, description="number of marked predictions")
    accuracy: Accuracy | None = Field(
        None, description="accuracy; null: no image lies in a folder named like a known class"
    )
    accuracy_by_class: dict[str, Accuracy] = Field(default={}, description="the same by true class")
    unknown_folders: dict[str, int] = Field(
        default={}, description="number of images by folder whose name is no known class"
    )

    def _calibration(self) -> list[str]:
        if self.temperature is None or self.unlike_share is None:
            why = "the training held no images apart (train --held-apart 0.1)"
            return [f"not calibrated, and images unlike the training images are not marked: {why}"]
        apart = counted(self.held_apart_images or 0, "training image")
        unlike = counted(self.unlike_images or 0, "image")
        wrongly = f"of images like them at most about {100 * self.unlike_share:g} % are marked so"
        return [
            f"probabilities calibrated (temperature {self.temperature:.2f}, by {apart} held apart)",
            f"{unlike} unlike the training images ({wrongly})",
        ]

    def sentences(self) -> list[str]:
        """The summary in words."""
        marked = counted(self.low_confidence_images, "prediction")
        below = f"probability of the predicted class below {self.low_confidence:g}"
        lines = [f"{marked} of low confidence ({below})", *self._calibration()]
        if self.accuracy is not None:
            lines.append(f"accuracy {self.accuracy}")
        unknown = list(self.unknown_folders.items())
        if len(unknown) == 1:
            ((folder, number),) = unknown
            lines.append(
                f"{counted(number, 'image')} in folder {folder}, which is no class that the "
                "network knows"
            )
        elif unknown:
            images = counted(sum(number for _, number in unknown), "image")
            folders = ", ".join(f"{folder} ({number})" for folder, number in unknown[:MOST_FOLDERS])
            more = ", ..." if len(unknown) > MOST_FOLDERS else ""
            lines.append(
                f"{images} in {len(unknown)} folders that are no classes that the network knows: "
                f"{folders}{more}"
            )
        return lines
