"""Synthetic weather images, for users without data: all 11 classes of WEAPD, seeded."""

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.files import named, write_json
from weather_hpc.reading import read_object

if TYPE_CHECKING:
    import numpy as np

WEAPD_COUNTS = {
    "dew": 698, "fogsmog": 851, "frost": 475, "glaze": 639, "hail": 591, "lightning": 377,
    "rain": 526, "rainbow": 232, "rime": 1160, "sandstorm": 692, "snow": 621,
}  # fmt: skip
"""Images per class in the public copy of WEAPD."""

MARKER = ".synthetic.json"
VERSION = 1
"""Increase it when equal parameters give other images."""

SHORT_SIDE, LONG_SIDE = 240, 1600


def make_synthetic(
    folder: Path, images_per_class: int, seed: int = 0, *, like_weapd: bool = False
) -> int:
    """Make ``images_per_class`` JPEGs of each class in ``folder``/<class>/; returns the total.

    ``like_weapd`` keeps the total but divides it in the proportions of WEAPD. Image ``i`` of a
    class is the same for any number of images. Images of an earlier call with the same parameters
    are kept; a killed call is finished. The folder appears under its name when it is whole, unless
    it existed, empty. Raises UserError where the folder holds other files, and OSError where it
    cannot be written; what was made is removed then.
    """
    from weather_hpc.dataset.catalogue import proportional

    if images_per_class < 1:
        raise UserError(f"images per class: {images_per_class}, must be 1 or more")
    counts = dict.fromkeys(WEAPD_COUNTS, images_per_class)
    if like_weapd:
        shares = proportional(images_per_class * len(counts), list(WEAPD_COUNTS.values()))
        counts = dict(zip(WEAPD_COUNTS, shares, strict=True))
    parameters = {"version": VERSION, "seed": seed, "counts": counts}
    total = sum(counts.values())
    if _is_complete(folder, parameters):
        return total
    # a folder that exists, such as a mount point, may be impossible to replace
    made = folder if folder.exists() else folder.with_name(f"{folder.name}.partial")
    if made != folder and _is_complete(made, parameters):
        made.rename(folder)
        return total
    try:
        _make(made, counts, seed, parameters)
    except OSError:
        if made != folder:
            shutil.rmtree(made, ignore_errors=True)
        raise
    if made != folder:
        made.rename(folder)
    return total


def _make(folder: Path, counts: dict[str, int], seed: int, parameters: dict[str, object]) -> None:
    """Make the images that ``folder`` lacks."""
    write_json(folder / MARKER, {"parameters": parameters, "complete": False})
    with cli.progress("making images", total=sum(counts.values())) as advance:
        for label, (name, count) in enumerate(counts.items()):
            (folder / name).mkdir(exist_ok=True)
            for number in range(count):
                _make_one(folder / name / f"{number:05}.jpg", name, [seed, label, number])
                advance()
    write_json(folder / MARKER, {"parameters": parameters, "complete": True})


def _is_complete(folder: Path, parameters: dict[str, object]) -> bool:
    """Whether all images exist; raises UserError where the folder holds other files."""
    marker = folder / MARKER
    if not os.path.lexists(marker):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: exists and holds other files; choose an empty folder")
        return False
    try:
        made = read_object(marker)
        same, complete = made["parameters"] == parameters, bool(made["complete"])
    except (UserError, KeyError):
        raise UserError(
            f"{marker}: damaged; choose another folder, or move {folder} away"
        ) from None
    if not same:
        raise UserError(
            f"{folder}: holds synthetic images made with other settings; "
            "choose another folder, or move it away"
        )
    return complete


def _make_one(path: Path, name: str, entropy: list[int]) -> None:
    if path.exists():
        return
    import numpy as np

    from weather_hpc.dataset.scenes import paint

    rng = np.random.default_rng(entropy)
    picture = paint(name, rng, _size(rng))
    # Renamed into place, so that a file that exists is complete; not flushed to disk one by one.
    temporary = path.with_name(f".{path.name}")
    content = io.BytesIO()  # Pillow does not say why it could not write a file
    picture.save(content, "JPEG", quality=int(rng.integers(75, 93)))
    with named(path):
        temporary.write_bytes(content.getvalue())
        temporary.replace(path)


def _size(rng: "np.random.Generator") -> tuple[int, int]:
    """Width and height as on the web: mostly about 600 pixels, some far larger, some upright."""
    import numpy as np

    side = float(np.clip(rng.lognormal(np.log(620), 0.4), SHORT_SIDE * 1.4, LONG_SIDE))
    short = max(SHORT_SIDE, round(side / rng.uniform(1.0, 1.8)))
    size = round(side), short
    return size if rng.random() < 0.8 else (size[1], size[0])
