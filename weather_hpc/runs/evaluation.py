"""Evaluation: how the trained network classified the held-out images: evaluation.json of a run."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weather_hpc.errors import UserError
from weather_hpc.reading import first_error, read_bytes, read_json
from weather_hpc.text import one_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LARGEST_STRIP = 4 * 2**20
"""Bytes of examples.jpg, which has about 50 kB."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Part(BaseModel):
    """A part of evaluation.json, which has more."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Bin(_Part):
    """The held-out images whose probability of the predicted class is in one slice of 0..1."""

    low: Share = Field(alias="from")
    high: Share = Field(alias="to")
    images: Count
    confidence: Share
    """The mean probability."""
    accuracy: Share


class Calibrated(_Part):
    """The same with probabilities at a temperature that was fitted on other images."""

    temperature: float = Field(gt=0)
    expected_calibration_error: Share


class Example(_Part):
    """One held-out image, the row of the store that it is; classes by their index."""

    row: Count
    true: Count
    predicted: Count
    probability: Share

    @property
    def right(self) -> bool:
        """Whether it was classified right."""
        return self.true == self.predicted


class Evaluation(_Part):
    """How the held-out images were classified."""

    images: Count
    classes: list[str]
    confusion: list[list[Count]]
    """Images by true class (rows) and predicted class (columns)."""
    expected_calibration_error: Share | None = None
    calibrated: Calibrated | None = None
    calibration: list[Bin] = []
    examples: list[Example] = []
    """In the order of examples.jpg; earlier versions left none."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        count = len(self.classes)
        if len(self.confusion) != count or any(len(row) != count for row in self.confusion):
            raise ValueError(f"confusion is not a table of {count} x {count}, as there are classes")
        if sum(map(sum, self.confusion)) != self.images:
            raise ValueError(f"confusion has not {self.images} images")
        if any(max(one.true, one.predicted) >= count for one in self.examples):
            raise ValueError(f"an example is of none of the {count} classes")
        return self

    def correct(self) -> int:
        """Images that were classified right."""
        return sum(row[place] for place, row in enumerate(self.confusion))


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in ``path``. Raises UserError where there is none or it is damaged."""
    try:
        return Evaluation.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def read_strip(path: Path, count: int) -> "list[npt.NDArray[np.uint8]]":
    """The ``count`` images of examples.jpg, each uint8 (side, side, 3).

    Raises UserError where there are not so many, or the file cannot be read.
    """
    import numpy as np
    from PIL import Image

    data = read_bytes(path, LARGEST_STRIP)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            width, side = image.size
            fits = width == count * side
            pixels = np.asarray(image.convert("RGB")) if fits else None
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f"{path}: cannot be read as JPEG: {one_line(error)}") from None
    if pixels is None:
        raise UserError(f"{path}: {width} x {side} pixels, expected {count} squares")
    return [pixels[:, place * side : (place + 1) * side] for place in range(count)]
