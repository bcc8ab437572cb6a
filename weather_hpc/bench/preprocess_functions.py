"""What the contestants of ``bench preprocess`` do, each in a process of its own.

Those on one core report, beside the clock's seconds, the CPU seconds they took: files are in the
page cache, so nobody waits, and what else runs on the machine costs them little.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.timed_function import MEASURED
from weather_hpc.runs.clock import Clock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

BATCH = 32


def files_of(folder: str) -> list[Path]:
    """The images under ``folder``, in order."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def pillow_decode(path: Path, size: int) -> "Pixels":
    """As everybody writes it: full decode, antialiased bicubic resize."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def cv2_decode(path: Path, size: int) -> "Pixels":
    """OpenCV's full decode and its resize by area, the one of its filters that is antialiased."""
    import cv2

    read: Any = cv2.imread
    resized: Any = cv2.resize(read(str(path)), (size, size), interpolation=cv2.INTER_AREA)
    pixels: Any = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)
    return pixels  # type: ignore[no-any-return]


def pillow(clock: Clock, folder: str, size: int) -> dict[str, Any]:
    """One image after the other by Pillow."""
    from PIL import Image

    Image.init()  # as our workers do
    return _fill(clock, (pillow_decode(path, size) for path in files_of(folder)), size)


def ours(clock: Clock, folder: str, size: int, decoder: str) -> dict[str, Any]:
    """One image after the other by a decoder of this package, in a process like a worker's."""
    from weather_hpc.preprocess.chunk import introduce
    from weather_hpc.preprocess.decoders import make_decoder
    from weather_hpc.study.spec import Decoder

    introduce(Decoder(decoder))
    decode = make_decoder(Decoder(decoder))
    return _fill(clock, (decode(path, size) for path in files_of(folder)), size)


def cv2_area(clock: Clock, folder: str, size: int) -> dict[str, Any]:
    """One image after the other by OpenCV."""
    import cv2

    cv2.setNumThreads(1)
    return _fill(clock, (cv2_decode(path, size) for path in files_of(folder)), size)


def torchvision_loader(clock: Clock, folder: str, size: int) -> dict[str, Any]:
    """torchvision's ImageFolder under torch's DataLoader, in this process."""
    from torch.utils.data import DataLoader

    from weather_hpc.models.registry import import_torchvision

    import_torchvision()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    stretch = v2.Resize((size, size), v2.InterpolationMode.BICUBIC, antialias=True)
    images = ImageFolder(folder, v2.Compose([stretch, v2.PILToTensor()]))
    return count(clock, (len(batch) for batch, _ in DataLoader(images, BATCH)))


def dali(clock: Clock, folder: str, size: int) -> dict[str, Any]:
    """NVIDIA DALI's pipeline on the CPU: full decode, antialiased bicubic resize."""
    from itertools import chain

    from nvidia.dali import fn, pipeline_def, types

    paths = files_of(folder)
    gifs = {path for path in paths if path.read_bytes()[:4] == b"GIF8"}
    files = [str(path) for path in paths if path not in gifs]

    def stages() -> Any:
        encoded, _ = fn.readers.file(files=files, name="files", pad_last_batch=False)
        pixels = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        return fn.resize(
            pixels, resize_x=size, resize_y=size, interp_type=types.INTERP_CUBIC, antialias=True
        )

    pipeline = pipeline_def(stages)(batch_size=1, num_threads=1, device_id=None)
    pipeline.build()
    by_dali = (len(pipeline.run()[0]) for _ in files)
    by_pillow = (len(pillow_decode(path, size)[None]) for path in gifs)
    return count(clock, chain(by_dali, by_pillow))


def pool_map(clock: Clock, folder: str, size: int, workers: int) -> dict[str, Any]:
    """Pillow in a pool of processes, the pixels sent back, as Pool.map is used."""
    import multiprocessing
    from functools import partial

    paths = files_of(folder)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(partial(pillow_decode, size=size), paths[: 4 * workers])  # all is imported
        with clock.phase(MEASURED):
            rows = pool.map(partial(pillow_decode, size=size), paths)
    return {"images": len(rows)}


def pack(
    clock: Clock, folder: str, size: int, backend: str, workers: int, decoder: str
) -> dict[str, Any]:
    """The preprocess stage itself, store written; its own time_s."""
    from weather_hpc.preprocess.stage import preprocess
    from weather_hpc.runs.proc import memory_peak_mb
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.spec import Backend, Decoder, PreprocessTask, RunSpec, Stage

    task = PreprocessTask(
        backend=Backend(backend), workers=workers, image_size=size, decoder=Decoder(decoder)
    )
    spec = RunSpec(study="bench", stage=Stage.PREPROCESS, task=task, data=folder)
    with RunWriter(spec, None) as writer:
        record = preprocess(task, Path(folder), Path("store"), writer, discard=True)
    assert record.time_s is not None  # noqa: S101  (nothing was there to be used again)
    clock.seconds[MEASURED] = record.time_s
    return {
        "images": record.counts.images,
        "startup_s": record.phases.startup,
        "parent_memory_mb": memory_peak_mb(),
    }


def epoch(clock: Clock, store: str) -> dict[str, Any]:
    """A shuffled epoch of batches from a packed store that is in memory already."""
    import numpy as np

    from weather_hpc.dataset.store import Store

    images = Store.open(Path(store)).images
    order = np.random.default_rng(0).permutation(len(images))

    def read() -> Iterable[int]:
        for first in range(0, len(order), BATCH):
            yield len(images[np.sort(order[first : first + BATCH])])

    sum(read())
    return count(clock, read())


def _fill(clock: Clock, decoded: "Iterable[Pixels]", size: int) -> dict[str, Any]:
    """Put images into a batch, over and over."""
    import numpy as np

    rows = np.zeros((BATCH, size, size, 3), dtype=np.uint8)

    def put(number: int, pixels: "Pixels") -> int:
        rows[number % BATCH] = pixels
        return 1

    return count(clock, (put(*each) for each in enumerate(decoded)))


def count(clock: Clock, done: Iterable[int]) -> dict[str, Any]:
    """Time what ``done`` yields the numbers of, and take its CPU seconds."""
    start = time.process_time()
    with clock.phase(MEASURED):
        images = sum(done)
    return {"images": images, "cpu_s": time.process_time() - start}


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
