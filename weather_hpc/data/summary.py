"""Summaries of image folders and stores, and what is damaged in them."""

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.image_file import ImageError, printable
from weather_hpc.dataset.left_out import left_out, left_out_of
from weather_hpc.dataset.store import Store, is_store

DECODE_SIZE = 8
"""Images are decoded in full, so the size that they are then resized to does not matter."""


def summarize(path: Path) -> dict[str, Any]:
    """A JSON-able summary of the store or image folder at ``path``. Raises UserError."""
    return _summarize_store(Store.open(path)) if is_store(path) else _summarize_folder(path)


def find_damage(path: Path) -> tuple[list[str], str | None]:
    """One line for each damaged part of the store or image folder at ``path``, and a warning where
    many images are left out.

    Everything is read: pixels are compared with their checksums, images are decoded in full.
    """
    if is_store(path):
        store = Store.open(path)
        return store.verify(), left_out_of(store)
    from weather_hpc.preprocess.decoders import decode_exact

    catalogue = scan(path)
    damaged = {entry.path: entry.reason for entry in catalogue.quarantine}
    with cli.progress("decoding images", total=len(catalogue.items)) as advance:
        for item in catalogue.items:
            try:
                decode_exact(path / item.path, DECODE_SIZE)
            except ImageError as error:
                damaged[item.path] = str(error)
            advance()
    kept = len(catalogue.items) + len(catalogue.quarantine) - len(damaged)
    lines = [f"{printable(name)}: {reason}" for name, reason in sorted(damaged.items())]
    return lines, left_out(kept, catalogue.classes, damaged)


def _summarize_store(store: Store) -> dict[str, Any]:
    items = [row for row in store.items if row["valid"] == "1"]
    header = store.header
    return {
        "kind": "store",
        "path": printable(str(store.path)),
        "version": header["version"],
        "shape": header["shape"],
        "resize": header["resize"],
        "checksum": store.checksum,
        "classes": _counted(row["class"] for row in items),
        "split": _counted(row["split"] for row in items),
        "duplicates": sum(bool(row["duplicate_of"]) for row in items),
        "quarantined": len(store.quarantine()),
    }


def _summarize_folder(path: Path) -> dict[str, Any]:
    catalogue = scan(path)
    items = catalogue.items
    return {
        "kind": "image folder",
        "path": printable(str(path)),
        "images": len(items),
        "classes": {printable(name): n for name, n in catalogue.class_counts().items()},
        "formats": _counted(item.format for item in items),
        "megapixels": _range([item.width * item.height / 1e6 for item in items]),
        "shorter_side": _range([min(item.width, item.height) for item in items]),
        "bytes": sum(item.size for item in items),
        "duplicates": catalogue.duplicates,
        "quarantined": len(catalogue.quarantine),
        "quarantine": {printable(entry.path): entry.reason for entry in catalogue.quarantine},
    }


def _counted(values: Any) -> dict[str, int]:
    return {printable(value): count for value, count in sorted(Counter(values).items())}


def _range(values: list[Any]) -> dict[str, float]:
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }
