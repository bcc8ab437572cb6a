"""What FFCV does in ``bench preprocess``.

It reads nothing but files of its own, so each process writes one before the clock starts, and
reads it once to have its code compiled.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.preprocess_work import BATCH, count, files_of
from weather_hpc.runs.clock import Clock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class _Pictures:
    """Images as FFCV's writer takes them: each a tuple of one field, by number."""

    def __init__(self, source: "Sequence[Path] | npt.NDArray[np.uint8]") -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: int) -> "tuple[npt.NDArray[np.uint8]]":
        import numpy as np
        from PIL import Image

        picture = self._source[number]
        if isinstance(picture, Path):
            with Image.open(picture) as image:
                return (np.asarray(image.convert("RGB")),)
        return (np.asarray(picture),)


def ffcv_epoch(clock: Clock, store: str) -> dict[str, Any]:
    """A shuffled epoch of batches from pixels of the size wanted, in memory already."""
    from ffcv.fields.decoders import SimpleRGBImageDecoder

    from weather_hpc.dataset.store import Store

    pixels = _Pictures(Store.open(Path(store)).images)
    return _read(clock, pixels, "raw", SimpleRGBImageDecoder(), shuffled=True)


def ffcv_decode(clock: Clock, folder: str, size: int) -> dict[str, Any]:
    """Each image once, from a JPEG of quality 90: full decode; the largest square in its middle,
    resized by area, for FFCV has neither a stretch nor another filter."""
    from ffcv.fields.decoders import CenterCropRGBImageDecoder

    decoder = CenterCropRGBImageDecoder((size, size), ratio=1)
    return _read(clock, _Pictures(files_of(folder)), "jpg", decoder, shuffled=False)


def _read(
    clock: Clock, pictures: _Pictures, mode: str, decoder: Any, *, shuffled: bool
) -> dict[str, Any]:
    from ffcv.fields import RGBImageField
    from ffcv.loader import Loader, OrderOption
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=90)}
    DatasetWriter("images.beton", fields, num_workers=1).from_indexed_dataset(pictures)
    loader = Loader(
        "images.beton",
        batch_size=BATCH,
        num_workers=1,
        order=OrderOption.RANDOM if shuffled else OrderOption.SEQUENTIAL,
        drop_last=False,
        pipelines={"image": [decoder]},
    )
    for _ in loader:
        pass
    return count(clock, (len(batch) for (batch,) in loader))
