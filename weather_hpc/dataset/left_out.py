"""A warning where many of a folder's image files are left out of its store, whatever the reasons.

Images that cannot be read fail a run (:mod:`weather_hpc.dataset.unreadable`). Others are left out
without that, by the rules of :mod:`weather_hpc.dataset.catalogue`: those beside the class folders,
and those of which another class has a copy.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from weather_hpc.dataset.class_folders import SEVERAL_CLASSES, class_of
from weather_hpc.dataset.image_file import has_image_name, printable
from weather_hpc.dataset.unreadable import examples
from weather_hpc.text import counted

if TYPE_CHECKING:
    from weather_hpc.dataset.store import Store

MANY = 0.1
"""Share of all image files from which on a warning is due."""

MOST_CLASSES = 5


def left_out_of(store: "Store") -> str | None:
    """The warning about ``store``; None where none is due."""
    reasons = {entry["path"]: entry["reason"] for entry in store.quarantine()}
    return left_out(len(store.rows()), store.classes, reasons)


def left_out(kept: int, classes: Collection[str], reasons: Mapping[str, str]) -> str | None:
    """The warning about a folder of which ``kept`` images in ``classes`` are used.

    ``reasons``: path of each file or folder left out -> why. Files with the name of no image do not
    count, nor do links to folders that are read by another path.
    """
    folders = {path: why for path, why in reasons.items() if why.startswith(SEVERAL_CLASSES)}
    lost = {path: why for path, why in reasons.items() if has_image_name(path)}
    lost = {path: why for path, why in lost.items() if path not in folders}
    with_images = {class_of(path) for path in lost if "/" in path} | set(map(class_of, folders))
    gone = sorted(map(printable, with_images - set(classes)))
    files = kept + len(lost)
    parts = []
    if lost and (gone or len(lost) >= max(2, MANY * files)):
        share = f"{len(lost)} of {counted(files, 'image file')} ({len(lost) / files:.0%})"
        parts.append(f"{share} are left out: {examples(lost)}")
    if folders:
        are = "is" if len(folders) == 1 else "are"
        parts.append(f"{counted(len(folders), 'folder')} {are} left out: {examples(folders)}")
    if not parts:
        return None
    text = "; ".join(parts)
    if gone:
        named = ", ".join(gone[:MOST_CLASSES]) + (", ..." if len(gone) > MOST_CLASSES else "")
        text += f"; no image is left of {named}"
    return text
