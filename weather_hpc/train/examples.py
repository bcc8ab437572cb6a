"""Examples of held-out images, classified right and wrong: a strip of thumbnails of a run folder.

A report shows them when the images themselves are elsewhere or gone.
"""

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import Store
from weather_hpc.files import write_bytes
from weather_hpc.runs.evaluation import Example
from weather_hpc.train.evaluation import DECIMALS, Predictions

OF_EACH = 6
"""Examples that were classified right, and as many that were not."""
SIDE_PX = 112
QUALITY = 85
"""Of the JPEG: with it an example takes about 4 kB."""


@dataclass(frozen=True)
class _Choice:
    """Held-out images in the order of how sure the network is of its answer, surest first."""

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probability: npt.NDArray[np.floating]

    def surest(self, *, right: bool) -> list[int]:
        """The surest that are ``right`` or not: one of each true class, at most OF_EACH."""
        (places,) = np.nonzero((self.labels == self.predicted) == right)
        _, first = np.unique(self.labels[places], return_index=True)
        return [int(place) for place in places[np.sort(first)][:OF_EACH]]


def choose_examples(store: Store, predictions: Sequence[Predictions]) -> list[Example]:
    """Examples among the held-out images that ``predictions`` are of: those classified right first.

    Of both, those of which the network was surest, of each class at most one.
    """
    rows = np.concatenate([part.rows for part in predictions])
    probabilities = np.concatenate([part.probabilities for part in predictions])
    # equal probabilities in the order of the images, whichever rank had them
    order = np.lexsort((rows, -probabilities.max(axis=1)))
    rows, probabilities = rows[order], probabilities[order]
    found = _Choice(
        rows, store.labels[rows], probabilities.argmax(axis=1), probabilities.max(axis=1)
    )
    return [
        Example(
            row=int(found.rows[place]),
            true=int(found.labels[place]),
            predicted=int(found.predicted[place]),
            probability=round(float(found.probability[place]), DECIMALS),
        )
        for right in (True, False)
        for place in found.surest(right=right)
    ]


def can_write() -> bool:
    """Whether Pillow is installed, without which training works too."""
    return importlib.util.find_spec("PIL") is not None


def write_examples(store: Store, examples: Sequence[Example], path: Path) -> None:
    """Write the images of ``examples`` side by side as one JPEG, each of SIDE_PX x SIDE_PX."""
    from PIL import Image

    strip = Image.new("RGB", (SIDE_PX * len(examples), SIDE_PX))
    for place, example in enumerate(examples):
        image = Image.fromarray(np.asarray(store.images[example.row]))
        strip.paste(image.resize((SIDE_PX, SIDE_PX)), (place * SIDE_PX, 0))
    content = io.BytesIO()  # Pillow does not say why it could not write a file
    strip.save(content, format="JPEG", quality=QUALITY)
    write_bytes(path, content.getvalue())
