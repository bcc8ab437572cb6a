"""The code of the implementations of ``bench preprocess``, each run in a process of its own.

Those on one core report CPU seconds in addition to wall-clock seconds: files are in the page cache,
so there is no waiting for I/O, and other load on the machine changes CPU seconds little.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.timed_function import Timed

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
    """Full decode, antialiased bicubic resize: how it is usually written."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def cv2_decode(path: Path, size: int) -> "Pixels":
    """OpenCV's full decode and resize by area, its only antialiased filter."""
    import cv2

    read: Any = cv2.imread
    resized: Any = cv2.resize(read(str(path)), (size, size), interpolation=cv2.INTER_AREA)
    pixels: Any = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)
    return pixels  # type: ignore[no-any-return]


def pillow(folder: str, size: int) -> Timed:
    """Pillow, one image after the other."""
    from PIL import Image

    Image.init()  # as this package's workers do
    return _fill((pillow_decode(path, size) for path in files_of(folder)), size)


def ours(folder: str, size: int, decoder: str) -> Timed:
    """A decoder of this package, one image after the other, set up as in a worker process."""
    from weather_hpc.preprocess.chunk import prepare_worker
    from weather_hpc.preprocess.decoders import make_decoder
    from weather_hpc.study.tasks import Decoder

    prepare_worker(Decoder(decoder))
    decode = make_decoder(Decoder(decoder))
    return _fill((decode(path, size) for path in files_of(folder)), size)


def cv2_area(folder: str, size: int) -> Timed:
    """OpenCV, one image after the other."""
    import cv2

    cv2.setNumThreads(1)
    return _fill((cv2_decode(path, size) for path in files_of(folder)), size)


def torchvision_loader(folder: str, size: int) -> Timed:
    """torchvision's ImageFolder under torch's DataLoader, in this process."""
    from torch.utils.data import DataLoader

    from weather_hpc.models.registry import import_torchvision

    import_torchvision()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    stretch = v2.Resize((size, size), v2.InterpolationMode.BICUBIC, antialias=True)
    images = ImageFolder(folder, v2.Compose([stretch, v2.PILToTensor()]))
    return time_iteration((len(batch) for batch, _ in DataLoader(images, BATCH)))


def dali(folder: str, size: int) -> Timed:
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
    return time_iteration(chain(by_dali, by_pillow))


def pool_map(folder: str, size: int, workers: int) -> Timed:
    """Pillow in Pool.map, with the pixels sent back to the parent."""
    import multiprocessing
    from functools import partial

    paths = files_of(folder)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(partial(pillow_decode, size=size), paths[: 4 * workers])  # imports in workers
        start = time.perf_counter()
        rows = pool.map(partial(pillow_decode, size=size), paths)
        return Timed(time.perf_counter() - start, {"images": len(rows)})


def pack(folder: str, size: int, backend: str, workers: int, decoder: str) -> Timed:
    """The preprocess stage with its store written; the time is its time_s."""
    from weather_hpc.preprocess.stage import preprocess
    from weather_hpc.runs.proc import memory_peak_mb
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.spec import RunSpec, Stage
    from weather_hpc.study.tasks import Backend, Decoder, PreprocessTask

    task = PreprocessTask(
        backend=Backend(backend), workers=workers, image_size=size, decoder=Decoder(decoder)
    )
    spec = RunSpec(study="bench", stage=Stage.PREPROCESS, task=task, data=folder)
    with RunWriter(spec, None) as writer:
        record = preprocess(task, Path(folder), Path("store"), writer, discard=True)
    assert record.time_s is not None  # noqa: S101  (there was no earlier store to reuse)
    facts = {
        "images": record.counts.images,
        "startup_s": record.phases.startup,
        "parent_memory_mb": memory_peak_mb(),
    }
    return Timed(record.time_s, facts)


def epoch(store: str) -> Timed:
    """A shuffled epoch of batches from a packed store that is in memory already."""
    import numpy as np

    from weather_hpc.dataset.store import Store

    images = Store.open(Path(store)).images
    order = np.random.default_rng(0).permutation(len(images))

    def read() -> Iterable[int]:
        for first in range(0, len(order), BATCH):
            yield len(images[np.sort(order[first : first + BATCH])])

    sum(read())
    return time_iteration(read())


def _fill(decoded: "Iterable[Pixels]", size: int) -> Timed:
    """Time copying the images into one batch buffer, which is reused."""
    import numpy as np

    rows = np.zeros((BATCH, size, size, 3), dtype=np.uint8)

    def put(number: int, pixels: "Pixels") -> int:
        rows[number % BATCH] = pixels
        return 1

    return time_iteration(put(*each) for each in enumerate(decoded))


def time_iteration(done: Iterable[int]) -> Timed:
    """Time the iteration over ``done``, which yields numbers of images; CPU seconds as a fact."""
    start, cpu_start = time.perf_counter(), time.process_time()
    images = sum(done)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    return Timed(seconds, {"images": images, "cpu_s": cpu_s})


class _Pictures:
    """Images as FFCV's writer reads them: by index, each a tuple of one field."""

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


def ffcv_epoch(store: str) -> Timed:
    """FFCV: a shuffled epoch of batches from resized pixels that are in memory already."""
    from ffcv.fields.decoders import SimpleRGBImageDecoder

    from weather_hpc.dataset.store import Store

    pixels = _Pictures(Store.open(Path(store)).images)
    return _read(pixels, "raw", SimpleRGBImageDecoder(), shuffled=True)


def ffcv_decode(folder: str, size: int) -> Timed:
    """FFCV: each image once, from JPEGs of quality 90: full decode, then the central square resized
    by area, because FFCV can neither stretch nor use another filter."""
    from ffcv.fields.decoders import CenterCropRGBImageDecoder

    decoder = CenterCropRGBImageDecoder((size, size), ratio=1)
    return _read(_Pictures(files_of(folder)), "jpg", decoder, shuffled=False)


def _read(pictures: _Pictures, mode: str, decoder: Any, *, shuffled: bool) -> Timed:
    from ffcv.fields import RGBImageField
    from ffcv.loader import Loader, OrderOption
    from ffcv.writer import DatasetWriter

    # FFCV reads only its own file format: written before the clock starts, and read once to have
    # its code compiled
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
    return time_iteration(len(batch) for (batch,) in loader)
