"""The figures as files for programs: CSV tables, normalization constants, the summary."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.catalogue import Split
from weather_hpc.dataset.image_file import printable
from weather_hpc.eda import kernels
from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.near_duplicates import ENOUGH, Pair
from weather_hpc.files import write_csv, write_json

DIGITS = 6
SPLIT_COLUMNS = ("train", "validation", "test")
"""Of class_counts.csv. No store has a validation split: its column is 0."""


def write_tables(out: Path, found: Exploration) -> None:
    """Write every table but the census, which was written as it came."""
    write_csv(
        out / "class_counts.csv",
        ["class", "images", *SPLIT_COLUMNS, "share", "duplicates"],
        class_counts(found),
    )
    write_csv(
        out / "histograms.csv", ["class", "channel", "level", "pixels"], _histogram_rows(found)
    )
    write_json(out / "normalization.json", normalization(found))
    pairs = [pair_row(found, pair) for pair in found.pairs]
    write_csv(out / "near_duplicates.csv", PAIR_COLUMNS, pairs)
    write_csv(out / "map.csv", ["path", "class", "split", "x", "y"], _map_rows(found))


def summary(found: Exploration) -> dict[str, Any]:
    """All figures, JSON-able."""
    return {
        "images": len(found.rows),
        "classes": class_counts(found),
        "colours": class_colours(found),
        "census": census_summary(found),
        "quarantine": _reasons(found),
        "normalization": normalization(found),
        "near_duplicates": pairs_summary(found),
        "map": {"variance_explained": _rounded(found.explained)},
    }


def class_counts(found: Exploration) -> list[dict[str, Any]]:
    """Images of each class, of each split, and how many repeat another's content."""
    splits: Counter[tuple[int, str]] = Counter(
        zip(found.labels.tolist(), found.splits, strict=True)
    )
    copies: Counter[int] = Counter()
    for position, label in enumerate(found.labels.tolist()):
        copies[label] += bool(found.item(position)["duplicate_of"])
    rows = []
    for label, name in enumerate(found.classes):
        images = sum(splits[label, split] for split in Split)
        rows.append(
            {
                "class": name,
                "images": images,
                **{split: splits[label, split] for split in SPLIT_COLUMNS},
                "share": round(images / len(found.rows), DIGITS),
                "duplicates": copies[label],
            }
        )
    return rows


def class_colours(found: Exploration) -> list[dict[str, Any]]:
    """Mean and standard deviation of each channel over all pixels of a class, in 0..1."""
    rows = []
    for label in found.present():
        mean, std = kernels.mean_std(found.tally.class_histogram(label))
        rows.append({"class": found.classes[label], "mean": _rounded(mean), "std": _rounded(std)})
    return rows


def normalization(found: Exploration) -> dict[str, Any]:
    """Mean and standard deviation of each channel over the training split, in 0..1."""
    counts = found.tally.split_histogram(train=True)
    mean, std = kernels.mean_std(counts)
    return {
        "channels": list(kernels.CHANNELS),
        "range": [0.0, 1.0],
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "split": str(Split.TRAIN),
        "images": found.splits.count(Split.TRAIN),
        "side": found.store.size,
        "store_checksum": found.store.checksum,
    }


def census_summary(found: Exploration) -> dict[str, Any]:
    """Formats, modes and sizes of the files, and how many of them are odd in some way."""
    counted, sizes = found.census, found.census.size_array()
    formats: Counter[str] = Counter()
    for (_, name), files in counted.formats.items():
        formats[name] += files
    return {
        "files": len(sizes),
        "formats": dict(formats.most_common()),
        "modes": dict(counted.modes.most_common()),
        "width_px": _spread(sizes[:, 0]),
        "height_px": _spread(sizes[:, 1]),
        "megapixels": _spread(sizes[:, 0] * sizes[:, 1] / 1e6),
        "aspect": _spread(sizes[:, 0] / sizes[:, 1]),
        "kilobytes": _spread(sizes[:, 2] / 1e3),
        "bytes": int(sizes[:, 2].sum()),
        "turned_by_exif": counted.turned,
        "animated": counted.animated,
        "misnamed": counted.misnamed,
    }


PAIR_COLUMNS = [
    "first", "second", "first_class", "second_class", "first_split", "second_split", "kind",
    "similarity", "straddles",
]  # fmt: skip


def pair_row(found: Exploration, pair: Pair) -> dict[str, Any]:
    """One pair of near-duplicates; ``kind`` is identical, alike or mirrored."""
    first, second = found.item(pair.first), found.item(pair.second)
    kind = "mirrored" if pair.mirrored else "alike"
    return {
        "first": printable(first["path"]),
        "second": printable(second["path"]),
        "first_class": printable(first["class"]),
        "second_class": printable(second["class"]),
        "first_split": first["split"],
        "second_split": second["split"],
        "kind": "identical" if first["sha256"] == second["sha256"] else kind,
        "similarity": round(pair.similarity, 4),
        "straddles": int(straddles(found, pair)),
    }


def straddles(found: Exploration, pair: Pair) -> bool:
    """Whether one of the two is in the training split and the other is not."""
    return (found.splits[pair.first] == Split.TRAIN) != (found.splits[pair.second] == Split.TRAIN)


def pairs_summary(found: Exploration) -> dict[str, Any]:
    """How many pairs of each kind, and how many held-out images have one in the training split."""
    rows = [pair_row(found, pair) for pair in found.pairs]
    kinds = Counter(row["kind"] for row in rows)
    across = [pair for pair in found.pairs if straddles(found, pair)]
    seen = {
        position
        for pair in across
        for position in (pair.first, pair.second)
        if found.splits[position] != Split.TRAIN
    }
    pairs_of = Counter(place for pair in found.pairs for place in (pair.first, pair.second))
    held_out = sum(split != Split.TRAIN for split in found.splits)
    return {
        "pairs": len(rows),
        "images_with_enough": sum(pairs >= ENOUGH for pairs in pairs_of.values()),
        **{kind: kinds[kind] for kind in ("identical", "alike", "mirrored")},
        "across_classes": sum(row["first_class"] != row["second_class"] for row in rows),
        "straddling": len(across),
        "held_out_images": held_out,
        "held_out_images_seen": len(seen),
        "straddling_pairs": [pair_row(found, pair) for pair in across],
    }


def _histogram_rows(found: Exploration) -> Iterator[dict[str, Any]]:
    for label in found.present():
        counts = found.tally.class_histogram(label).tolist()
        for channel, levels in zip(kernels.CHANNELS, counts, strict=True):
            for level, pixels in enumerate(levels):
                yield {
                    "class": found.classes[label],
                    "channel": channel,
                    "level": level,
                    "pixels": pixels,
                }


def _map_rows(found: Exploration) -> Iterator[dict[str, Any]]:
    for position, (x, y) in enumerate(found.positions.tolist()):
        item = found.item(position)
        yield {
            "path": printable(item["path"]),
            "class": printable(item["class"]),
            "split": item["split"],
            "x": round(x, 4),
            "y": round(y, 4),
        }


def _reasons(found: Exploration) -> dict[str, int]:
    """Why files were left out, and how many for each reason."""
    reasons = Counter(printable(entry["reason"]) for entry in found.store.quarantine())
    return dict(reasons.most_common())


def _spread(values: npt.NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, [0, 50, 100]).tolist()
    return {"min": round(low, 3), "median": round(middle, 3), "max": round(high, 3)}


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
