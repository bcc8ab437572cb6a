"""What ``bench scale`` measures, each in a process of its own, on tiny images made here."""

import io
import json
import time
from pathlib import Path
from typing import Any

from weather_hpc.bench.child import MEASURED
from weather_hpc.runs.clock import Clock

CLASSES, PICTURES = 11, 64
SIDES = (48, 40)
"""Width and height of the images, pixels."""


def make_tiny_images(folder: Path, images: int) -> None:
    """Write ``images`` JPEGs of 1 KB into class folders.

    There are few different pictures, but no two files are equal: each has a number of its own
    after its end, where decoders do not look.
    """
    import numpy as np
    from PIL import Image

    pictures = []
    for seed in range(PICTURES):
        rough = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(rough).resize(SIDES, Image.Resampling.BICUBIC).save(file, "JPEG")
        pictures.append(file.getvalue())
    for label in range(CLASSES):
        (folder / f"class_{label:02}").mkdir(parents=True)
    for number in range(images):
        content = pictures[number % PICTURES] + number.to_bytes(8, "big")
        (folder / f"class_{number % CLASSES:02}" / f"{number:07}.jpg").write_bytes(content)


def pack_all(clock: Clock, data: str, run_dir: str, size: int) -> dict[str, Any]:
    """The verb's whole stage with one worker process: seconds, and this process's peak memory."""
    from weather_hpc.preprocess.stage import preprocess
    from weather_hpc.runs.memory import memory_peak_mb
    from weather_hpc.runs.paths import RunPaths
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.spec import Backend, PreprocessTask, RunSpec, Stage

    task = PreprocessTask(backend=Backend.MULTIPROCESSING, workers=1, image_size=size)
    spec = RunSpec(study="bench", stage=Stage.PREPROCESS, task=task, data=data)
    paths = RunPaths(Path(run_dir))
    with RunWriter(spec, paths.root) as writer, clock.phase(MEASURED):
        start = time.time()
        record = preprocess(task, Path(data), paths.store, writer)
    events = [json.loads(line) for line in paths.events.read_text().splitlines()]
    (scanned,) = (event["at"] for event in events if event["event"] == "catalogue")
    return {
        "images": record.counts.images,
        "scan_s": scanned - start,
        "pack_s": record.time_s,
        "parent_peak_mb": memory_peak_mb(),
    }


def pack_partly(clock: Clock, data: str, out: str, size: int, chunks: int) -> dict[str, Any]:
    """Plan a store of all images, make its first ``chunks`` chunks, and take it up again."""
    from weather_hpc.dataset.catalogue import make_split, scan
    from weather_hpc.dataset.partial import Contents, PartialStore
    from weather_hpc.dataset.store import CHUNK_ROWS
    from weather_hpc.preprocess.chunk import Chunk, Target, pack_chunk
    from weather_hpc.runs.memory import memory_peak_mb
    from weather_hpc.study.spec import Decoder

    root = Path(data)
    with clock.phase(MEASURED):
        with clock.phase("scan"):
            catalogue = scan(root)
        with clock.phase("plan"):
            contents = Contents(catalogue, make_split(catalogue), size, "bench")
            partial = PartialStore(Path(out), contents)
        paths = [item.path for item in catalogue.items]
        with clock.phase("pack"), partial:
            target = Target(root, partial.images, partial.data_offset, size, Decoder.EXACT)
            for index in partial.missing()[:chunks]:
                first = index * CHUNK_ROWS
                chunk = Chunk(index, first, paths[first : first + CHUNK_ROWS])
                partial.finish(pack_chunk(target, chunk).finished)
        with clock.phase("resume"), PartialStore(Path(out), contents) as partial:
            found, missing = len(partial.finished), len(partial.missing())
    return {
        "images": len(paths),
        "store_bytes": len(paths) * target.row_bytes,
        "chunks_made": chunks,
        "chunks_found_again": found,
        "chunks_missing": missing,
        **{f"{name}_s": clock.seconds[name] for name in ("scan", "plan", "pack", "resume")},
        "parent_peak_mb": memory_peak_mb(),
    }
