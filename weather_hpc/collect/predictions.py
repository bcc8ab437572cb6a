"""Reads what runs of stage ``predict`` left: summary.json, predictions.csv and the first sheet.

A file that is damaged becomes a finding, and the run is left out of the report's section on
predictions; a damaged sheet alone is left out by itself.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weather_hpc.collect.sources import Found
from weather_hpc.errors import UserError
from weather_hpc.reading import first_error, read_bytes, read_json
from weather_hpc.report.predictions import NewImages
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import load_plan
from weather_hpc.runs.predictions import FIRST_COLUMNS, LAST_COLUMNS, SINCE, PredictionSummary
from weather_hpc.runs.row import Code, Finding, Row, Severity
from weather_hpc.study.spec import Stage
from weather_hpc.text import clean, one_line

LARGEST_SHEET = 16 * 2**20
"""Bytes. A sheet of 36 thumbnails as PNG has about 3 MiB."""
LARGEST_SIDE = 4096
"""Pixels of a sheet, which has about 1240 x 1920."""


def read_predictions(
    rows: Iterable[Row], found: Found | None
) -> tuple[list[NewImages], list[Finding]]:
    """The predictions of the successful runs of stage ``predict`` in ``rows``, and what is wrong.

    Where a study has a plan, only of the run that it names: earlier ones were for other images.
    """
    read: dict[str, NewImages] = {}
    findings: list[Finding] = []
    done = [row for row in rows if row.stage == Stage.PREDICT and row.status == "ok"]
    planned = dict(_planned(found.plans if found and done else ()))
    for row in done:
        folder = Path(row.source)
        if planned.get(folder.parent.parent, folder) != folder or row.run_id in read:
            continue
        files = RunPaths(folder)

        def wrong(fault: object, run_id: str = row.run_id) -> None:
            message = clean(str(fault))
            code = Code.PREDICTIONS_UNREADABLE
            findings.append(Finding(run_id, Severity.WARNING, code, message))

        try:
            summary = _summary(files.prediction_summary)
            predictions = list(_predictions(files.predictions))
            if len(predictions) != summary.images:
                raise UserError(
                    f"{files.predictions}: {len(predictions)} images, but "
                    f"{files.prediction_summary.name} says {summary.images}"
                )
        except (UserError, OSError) as error:
            wrong(error)
            continue
        sheet = None
        if summary.sheets:
            try:
                sheet = read_sheet(files.sheet(1))
            except (UserError, OSError) as error:
                wrong(error)
        new_images = clean(row.new_images or "a folder that is not known")
        place = clean(f"runs/{folder.name}")
        read[row.run_id] = NewImages(row.run_id, place, new_images, summary, predictions, sheet)
    return list(read.values()), findings


def _planned(plans: Sequence[StudyPaths]) -> Iterator[tuple[Path, Path]]:
    """The results folders with a plan that predicts, and the folder of that run."""
    for study in plans:
        try:
            predict = load_plan(study).predict
        except (UserError, OSError):
            continue  # reported where its runs are read
        if predict is not None:
            yield study.root, study.run(predict.run_id).root


def _summary(path: Path) -> PredictionSummary:
    try:
        return PredictionSummary.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def _predictions(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of predictions.csv with the columns that it has whatever the network."""
    text = read_bytes(path).decode("utf-8", "replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = [n for n in _CELLS if n not in (reader.fieldnames or ()) and n not in SINCE]
        if missing:
            raise UserError(f"{path}: has no column {missing[0]}")
        for line in reader:
            try:
                yield {name: read(line.get(name, "")) for name, read in _CELLS.items()}
            except (ValueError, TypeError) as error:
                raise UserError(f"{path}: line {reader.line_num}: {one_line(error)}") from None
    except csv.Error as error:
        raise UserError(f"{path}: not CSV: {error}") from None


def _word(text: str) -> str:
    if not text:
        raise ValueError("a file or class is empty")
    return clean(text)


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is not a probability from 0 to 1")
    return value


def _yes(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(f"{text} is neither True nor False")
    return text == "True"


def _optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "" else read(text)


_CELLS: dict[str, Callable[[str], Any]] = dict(
    zip(
        (*FIRST_COLUMNS, *LAST_COLUMNS),
        (
            _word, _word, _probability, _optional(_word), _optional(_probability),
            _optional(_word), _optional(_probability), _yes, _optional(_word), _optional(_yes),
            _optional(_yes), _optional(_probability),
        ),
        strict=True,
    )
)  # fmt: skip
"""How each column is read."""


def read_sheet(path: Path) -> bytes:
    """The picture in ``path`` as PNG, written anew, so that it holds pixels and nothing else.

    Raises UserError where it is no PNG, is damaged, or is larger than a sheet can be.
    """
    from PIL import Image

    png = read_bytes(path, LARGEST_SHEET)
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if max(image.size) > LARGEST_SIDE:
                width, height = image.size
                raise UserError(
                    f"{path}: {width} x {height} pixels, expected at most {LARGEST_SIDE} a side"
                )
            data = io.BytesIO()
            image.convert("RGB").save(data, format="PNG")
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{path}: cannot be read as PNG: {reason}") from None
    return data.getvalue()
