"""Network and images -> predictions.csv, skipped.csv, summary.json and sheets."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.analysis.statistics import wilson_interval
from weather_hpc.dataset.image_file import ImageError, printable
from weather_hpc.files import replacing, write_csv, write_json
from weather_hpc.predict.best import Best
from weather_hpc.predict.images import NewImage
from weather_hpc.predict.network import Images, Network
from weather_hpc.predict.sheet import Picture, SheetWriter, remove_old_sheets
from weather_hpc.preprocess.decoders import available, make_decoder
from weather_hpc.preprocess.profiles import available_color
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.predictions import (
    FIRST_COLUMNS,
    LAST_COLUMNS,
    Accuracy,
    PredictionSummary,
    SkippedFile,
)
from weather_hpc.runs.reader import read_run
from weather_hpc.study.tasks import Color, Decoder
from weather_hpc.text import clean

DECIMALS = 6
"""Of probabilities in predictions.csv."""


@dataclass(frozen=True)
class PredictOptions:
    """How images are classified and shown."""

    batch_size: int
    low_confidence: float
    """Probability of the predicted class below which a prediction is marked."""
    unlike_share: float
    """Share of images like the training images that may be marked as unlike them."""
    sheets: bool = True


@dataclass(frozen=True)
class Prediction:
    """One classified image."""

    file: str
    shares: dict[str, float]
    """Probability by class, the most probable first."""
    low_confidence: bool
    true_class: str | None
    """Known from the folder's name; None: not known."""
    unknown_folder: str | None
    """The class folder that it lies in, where the network does not know that class."""
    unlike: bool | None
    """Whether it is unlike the training images; None: not known."""
    uncalibrated: float
    """The network's own probability of the predicted class."""

    @property
    def top(self) -> list[tuple[str, float]]:
        """The three most probable classes with their probabilities; fewer if there are fewer."""
        return list(self.shares.items())[:3]

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return self.top[0][0]

    @property
    def correct(self) -> bool | None:
        """Whether the predicted class is the true one; None where that is not known."""
        return None if self.true_class is None else self.predicted == self.true_class

    def cells(self) -> dict[str, Any]:
        """The line in predictions.csv, by column."""
        ranked = [(name, round(share, DECIMALS)) for name, share in self.top]
        ranked += [(None, None)] * (3 - len(ranked))  # type: ignore[list-item]
        (first, p1), (second, p2), (third, p3) = ranked
        values = (self.file, first, p1)
        last = (second, p2, third, p3, self.low_confidence, self.true_class, self.correct,
                self.unlike, round(self.uncalibrated, DECIMALS))  # fmt: skip
        return (
            dict(zip(FIRST_COLUMNS, values, strict=True))
            | {_column(name): round(share, DECIMALS) for name, share in self.shares.items()}
            | dict(zip(LAST_COLUMNS, last, strict=True))
        )


def predict(
    network: Network,
    files: Sequence[NewImage],
    out: Path,
    options: PredictOptions,
    best: Best | None = None,
) -> PredictionSummary:
    """Classify ``files`` with ``network``; results go into the folder ``out``.

    ``best``: why this network was chosen, if a study chose it. A file that cannot be decoded in
    full is skipped, with the reason. Sheets of an earlier call are replaced.
    """
    with replacing(out) as new:
        summary = _write(network, files, RunPaths(out), RunPaths(new), options, best)
    remove_old_sheets(out, summary.sheets)
    return summary


def _write(
    network: Network,
    files: Sequence[NewImage],
    paths: RunPaths,
    new: RunPaths,
    options: PredictOptions,
    best: Best | None,
) -> PredictionSummary:
    """Write the results into the folder ``new``; the summary has their later ``paths``."""
    writer = SheetWriter(new, enabled=options.sheets)
    skipped: list[SkippedFile] = []
    predictions = []
    for image, prediction in _classified(network, files, options, skipped):
        predictions.append(prediction)
        writer.add(
            Picture(
                image,
                prediction.file,
                prediction.top,
                prediction.low_confidence,
                prediction.true_class,
                unlike=bool(prediction.unlike),
            )
        )
    columns = [*FIRST_COLUMNS, *map(_column, network.classes), *LAST_COLUMNS]
    write_csv(new.predictions, columns, (prediction.cells() for prediction in predictions))
    write_csv(
        new.root / "skipped.csv", ["file", "reason"], [entry.model_dump() for entry in skipped]
    )
    summary = PredictionSummary(
        images=len(predictions),
        classes=_counts(prediction.predicted for prediction in predictions),
        skipped=skipped,
        predictions=str(paths.predictions),
        sheets=[],
        checkpoint=printable(str(network.checkpoint)),
        run=_run_of(network, best),
        configuration=best.configuration if best else None,
        test_accuracy=best.test_accuracy if best else None,
        known_classes=list(map(printable, network.classes)),
        low_confidence=options.low_confidence,
        averaged=network.averages,
        temperature=network.temperature,
        held_apart_images=network.calibration.images if network.calibration else None,
        unlike_share=options.unlike_share if network.calibration else None,
        unlike_images=(
            sum(bool(prediction.unlike) for prediction in predictions)
            if network.calibration
            else None
        ),
        low_confidence_images=sum(prediction.low_confidence for prediction in predictions),
        accuracy=_accuracy(predictions),
        accuracy_by_class={
            name: found
            for name in sorted({p.true_class for p in predictions if p.true_class is not None})
            if (found := _accuracy([p for p in predictions if p.true_class == name]))
        },
        unknown_folders=_counts(p.unknown_folder for p in predictions if p.unknown_folder),
    )
    sheets = [str(paths.root / sheet.name) for sheet in writer.close(summary)]
    summary = summary.model_copy(update={"sheets": sheets})
    write_json(new.prediction_summary, summary.model_dump())
    return summary


def _classified(
    network: Network,
    files: Sequence[NewImage],
    options: PredictOptions,
    skipped: list[SkippedFile],
) -> Iterator[tuple[Images, Prediction]]:
    """Each usable image with its prediction, in order; the others are added to ``skipped``."""
    decode = make_decoder(available(Decoder.FAST), available_color(Color.MANAGED))
    batch: list[tuple[NewImage, Images]] = []

    def classified() -> Iterator[tuple[Images, Prediction]]:
        if not batch:
            return
        found = network.outputs([image for _, image in batch])
        for index, (file, image) in enumerate(batch):
            chance = None if found.chances is None else float(found.chances[index])
            shares = found.probabilities[index].tolist()
            own = float(found.uncalibrated[index].max())
            yield image, _prediction(file, network.classes, shares, options, chance, own)
        batch.clear()

    with cli.progress("classifying images", total=len(files)) as advance:
        for file in files:
            try:
                _check_kind(file.path)
                batch.append((file, decode(file.path, network.image_size)))
            except ImageError as error:
                skipped.append(SkippedFile(file=printable(str(file.path)), reason=str(error)))
            if len(batch) == options.batch_size:
                yield from classified()
            advance()
    yield from classified()


def _prediction(
    file: NewImage,
    classes: Sequence[str],
    shares: Sequence[float],
    options: PredictOptions,
    chance: float | None,
    uncalibrated: float,
) -> Prediction:
    ranked = sorted(zip(map(printable, classes), shares, strict=True), key=lambda pair: -pair[1])
    true_class = file.true_class(classes)
    unknown = file.folder is not None and true_class is None
    return Prediction(
        file=printable(str(file.path)),
        shares=dict(ranked),
        low_confidence=ranked[0][1] < options.low_confidence,
        true_class=None if true_class is None else printable(true_class),
        unknown_folder=printable(str(file.folder)) if unknown else None,
        unlike=None if chance is None else chance <= options.unlike_share,
        uncalibrated=uncalibrated,
    )


def _accuracy(predictions: Sequence[Prediction]) -> Accuracy | None:
    known = [prediction.correct for prediction in predictions if prediction.correct is not None]
    correct = sum(known)
    low, high = wilson_interval(correct, len(known))
    if low is None or high is None:
        return None
    return Accuracy(
        images=len(known), correct=correct, accuracy=correct / len(known), low=low, high=high
    )


def _counts(names: Iterator[str]) -> dict[str, int]:
    """How often each name comes, the most frequent first."""
    return dict(Counter(names).most_common())


def _run_of(network: Network, best: Best | None) -> str | None:
    """The run that trained ``network``, where its folder says so."""
    if best is not None:
        return best.run.run_id
    folder = network.checkpoint.absolute().parent
    return clean(read_run(folder).run_id) if RunPaths(folder).record.exists() else None


def _check_kind(path: Path) -> None:
    """Raise ImageError for a pipe, device or socket: reading it might never end."""
    if path.exists() and not path.is_file():
        raise ImageError("not a regular file")


def _column(name: str) -> str:
    """A class's column; the prefix distinguishes a class called ``file`` from the column file."""
    return f"p_{printable(name)}"
