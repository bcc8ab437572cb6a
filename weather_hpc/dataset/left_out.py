"""A warning where many of a folder's image files are left out of its store, whatever the reasons.

Images that cannot be read fail a run (:mod:`weather_hpc.dataset.unreadable`). Others are left out
without that, by the rules of :mod:`weather_hpc.dataset.catalogue`: those beside the class folders,
and those of which another class has a copy.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from weather_hpc.dataset.class_folders import class_of
from weather_hpc.dataset.image_file import has_image_name, printable
from weather_hpc.dataset.unreadable import grouped
from weather_hpc.text import counted

if TYPE_CHECKING:
    from weather_hpc.dataset.store import Store

MANY = 0.1
"""Share of all image files from which on a warning is due."""

MOST_REASONS = 3
MOST_CLASSES = 5


def left_out_of(store: "Store") -> str | None:
    """The warning about ``store``; None where none is due."""
    reasons = {entry["path"]: entry["reason"] for entry in store.quarantine()}
    return left_out(len(store.rows()), store.classes, reasons)


def left_out(kept: int, classes: Collection[str], reasons: Mapping[str, str]) -> str | None:
    """The warning about a folder of which ``kept`` images in ``classes`` are used.

    ``reasons``: path of each file left out -> why. Files with the name of no image do not count.
    """
    lost = {path: reason for path, reason in reasons.items() if has_image_name(path)}
    folders = {class_of(path) for path in lost if "/" in path}
    gone = sorted(map(printable, folders - set(classes)))
    if not gone and len(lost) < max(2, MANY * (kept + len(lost))):
        return None
    files = kept + len(lost)
    kinds = grouped(lost)
    texts = [f"{len(paths)} × {reason} ({printable(min(paths))})" for reason, paths in kinds]
    text = f"{len(lost)} of {counted(files, 'image file')} ({len(lost) / files:.0%}) are left out: "
    text += ", ".join(texts[:MOST_REASONS])
    if (more := len(texts) - MOST_REASONS) > 0:
        text += f" and {counted(more, 'other reason')}"
    if gone:
        named = ", ".join(gone[:MOST_CLASSES]) + (", ..." if len(gone) > MOST_CLASSES else "")
        text += f"; no image is left of {named}"
    return text
