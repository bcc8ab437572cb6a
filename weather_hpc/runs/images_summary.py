"""ImagesSummary: which images a run of preprocessing packed: images.json of its run folder.

The store itself is removed once it is measured, or lies on another machine than the report.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.reading import first_error, read_json

Count = Annotated[int, Field(ge=0, lt=2**53)]
Pixels = Annotated[float, Field(ge=0, lt=2**53)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ClassCount(_Part):
    """The usable images of one class."""

    train: Count
    test: Count
    """Held out."""

    @property
    def images(self) -> int:
        """Both together."""
        return self.train + self.test


class Reason(_Part):
    """Files that have something in common, such as why they were left out."""

    reason: str
    """Of one of them; those of the others differ from it in names and numbers only."""
    files: Count
    example: str
    """One of them, relative to the folder of images."""


class Sides(_Part):
    """Smallest, median and largest of the original images, in pixels."""

    low: Pixels
    median: Pixels
    high: Pixels


class ImagesSummary(_Part):
    """Which images were packed. Names are printable."""

    data: str | None = None
    """The folder of images."""
    checksum: str
    """Of the store's pixels."""
    image_size_px: Count
    """Height and width of every image in the store."""
    decoder: str
    """How images became pixels."""
    classes: dict[str, ClassCount]
    quarantined: list[Reason]
    """Files that were left out, by reason, the most frequent first."""
    damaged: list[Reason]
    """Damaged images that were kept."""
    duplicates: Count
    """Images with the same content as another one."""
    formats: dict[str, Count] | None = None
    """Images by file format; None: not known."""
    width: Sides | None = None
    height: Sides | None = None
    size_bytes: Count | None = None
    """Of all image files together."""

    @property
    def images(self) -> int:
        """Usable images."""
        return self.train + self.test

    @property
    def train(self) -> int:
        """Images to train with."""
        return sum(count.train for count in self.classes.values())

    @property
    def test(self) -> int:
        """Held-out images."""
        return sum(count.test for count in self.classes.values())

    def write(self, path: Path) -> None:
        """Write to ``path`` atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What is in ``path``. Raises UserError where there is nothing or it is damaged."""
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise UserError(f"{path}: {first_error(error)}") from None
