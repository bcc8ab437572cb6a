"""The measurements as CSV tables, normalization constants and JSON."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.catalogue import Split
from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.unreadable import grouped
from weather_hpc.eda import kernels
from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.near_duplicates import MOST_PAIRS, NearDuplicatePair
from weather_hpc.eda.odd_images import OddImage
from weather_hpc.files import write_csv, write_json

DIGITS = 6
SPLIT_COLUMNS = ("train", "validation", "test")
"""Of class_counts.csv. No store has a validation split: its column is 0."""


def write_tables(out: Path, exploration: Exploration) -> None:
    """Write every table except ``census.csv``, which is written while the headers are read."""
    write_csv(
        out / "class_counts.csv",
        ["class", "images", *SPLIT_COLUMNS, "share", "duplicates"],
        class_counts(exploration),
    )
    columns = ["class", "channel", "level", "pixels"]
    write_csv(out / "histograms.csv", columns, _histogram_rows(exploration))
    write_json(out / "normalization.json", normalization(exploration))
    pairs = [pair_row(exploration, pair) for pair in exploration.pairs]
    write_csv(out / "near_duplicates.csv", PAIR_COLUMNS, pairs)
    columns = ["profile", "color_space", "use", "class", "files"]
    write_csv(out / "color_profiles.csv", columns, _profile_rows(exploration))
    write_csv(out / "map.csv", ["path", "class", "split", "x", "y"], _map_rows(exploration))


def write_odd_images(out: Path, exploration: Exploration, odd: Iterable[OddImage]) -> None:
    """Write ``odd_images.csv``: a line for each kind in which an image is odd."""
    rows = (
        {
            "path": (item := exploration.item(each.position))["path"],
            "class": item["class"],
            "kind": each.kind,
            "text": each.text,
            "score": round(each.score, 2),
        }
        for each in odd
    )
    write_csv(out / "odd_images.csv", ["path", "class", "kind", "text", "score"], rows)


def summary(exploration: Exploration) -> dict[str, Any]:
    """All measurements, JSON-able."""
    return {
        "images": len(exploration.rows),
        "classes": class_counts(exploration),
        "colours": class_colours(exploration),
        "census": headers_summary(exploration),
        "quarantine": _reasons(exploration),
        "normalization": normalization(exploration),
        "near_duplicates": pairs_summary(exploration),
        "map": {"variance_explained": _rounded(exploration.explained)},
    }


def class_counts(exploration: Exploration) -> list[dict[str, Any]]:
    """Images of each class and split, and how many have the content of another image."""
    splits: Counter[tuple[int, str]] = Counter(
        zip(exploration.labels.tolist(), exploration.splits, strict=True)
    )
    copies: Counter[int] = Counter()
    for position, label in enumerate(exploration.labels.tolist()):
        copies[label] += bool(exploration.item(position)["duplicate_of"])
    rows = []
    for label, name in enumerate(exploration.classes):
        images = sum(splits[label, split] for split in Split)
        rows.append(
            {
                "class": name,
                "images": images,
                **{split: splits[label, split] for split in SPLIT_COLUMNS},
                "share": round(images / len(exploration.rows), DIGITS),
                "duplicates": copies[label],
            }
        )
    return rows


def class_colours(exploration: Exploration) -> list[dict[str, Any]]:
    """Mean and standard deviation of each channel over all pixels of a class, in 0..1."""
    rows = []
    for label in exploration.present():
        mean, std = map(_rounded, kernels.mean_std(exploration.pixels.class_histogram(label)))
        rows.append({"class": exploration.classes[label], "mean": mean, "std": std})
    return rows


def normalization(exploration: Exploration) -> dict[str, Any]:
    """Mean and standard deviation of each channel over the training split, in 0..1."""
    counts = exploration.pixels.split_histogram(train=True)
    mean, std = kernels.mean_std(counts)
    return {
        "channels": list(kernels.CHANNELS),
        "range": [0.0, 1.0],
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "split": str(Split.TRAIN),
        "images": exploration.splits.count(Split.TRAIN),
        "side": exploration.store.size,
        "store_checksum": exploration.store.checksum,
    }


def headers_summary(exploration: Exploration) -> dict[str, Any]:
    """Formats, modes and sizes of the files, and the numbers of unusual ones."""
    counts, sizes = exploration.headers, exploration.headers.size_array()
    return {
        "files": len(sizes),
        "formats": dict(counts.formats.most_common()),
        "modes": dict(counts.modes.most_common()),
        "width_px": _range(sizes[:, 0]),
        "height_px": _range(sizes[:, 1]),
        "megapixels": _range(sizes[:, 0] * sizes[:, 1] / 1e6),
        "aspect": _range(sizes[:, 0] / sizes[:, 1]),
        "kilobytes": _range(sizes[:, 2] / 1e3),
        "bytes": int(sizes[:, 2].sum()),
        "turned_by_exif": counts.rotated,
        "animated": counts.animated,
        "misnamed": counts.misnamed,
        "color_profiles": color_profiles(exploration),
        "cmyk_without_profile": counts.plain_inks,
    }


def color_profiles(exploration: Exploration) -> list[dict[str, Any]]:
    """The ICC profiles of the files, the most frequent first, with the files of each class."""
    classes: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for (*profile, label), files in exploration.headers.profiles.items():
        name, space, use = profile
        classes[name, space, use][exploration.classes[label]] += files
    rows = [
        {
            "profile": name,
            "color_space": space,
            "use": use,
            "files": of_class.total(),
            "classes": dict(of_class.most_common()),
        }
        for (name, space, use), of_class in classes.items()
    ]
    return sorted(rows, key=lambda row: -row["files"])


def _profile_rows(exploration: Exploration) -> Iterator[dict[str, Any]]:
    for profile in color_profiles(exploration):
        for name, files in profile["classes"].items():
            yield profile | {"class": name, "files": files}


PAIR_COLUMNS = [
    "first", "second", "first_class", "second_class", "first_split", "second_split", "kind",
    "similarity", "straddles",
]  # fmt: skip


def pair_row(exploration: Exploration, pair: NearDuplicatePair) -> dict[str, Any]:
    """One pair of near-duplicates; ``kind`` is identical, alike or mirrored."""
    first, second = exploration.item(pair.first), exploration.item(pair.second)
    kind = "mirrored" if pair.mirrored else "alike"
    return {
        "first": first["path"],
        "second": second["path"],
        "first_class": first["class"],
        "second_class": second["class"],
        "first_split": first["split"],
        "second_split": second["split"],
        "kind": "identical" if first["sha256"] == second["sha256"] else kind,
        "similarity": round(pair.similarity, 4),
        "straddles": int(straddles(exploration, pair)),
    }


def straddles(exploration: Exploration, pair: NearDuplicatePair) -> bool:
    """Whether one of the two is in the training split and the other is not."""
    first, second = exploration.splits[pair.first], exploration.splits[pair.second]
    return (first == Split.TRAIN) != (second == Split.TRAIN)


def pairs_summary(exploration: Exploration) -> dict[str, Any]:
    """Pairs of each kind, and how many held-out images have a pair in the training split."""
    rows = [pair_row(exploration, pair) for pair in exploration.pairs]
    kinds = Counter(row["kind"] for row in rows)
    across = [pair for pair in exploration.pairs if straddles(exploration, pair)]
    seen = {
        position
        for pair in across
        for position in (pair.first, pair.second)
        if exploration.splits[position] != Split.TRAIN
    }
    pairs_of = Counter(place for pair in exploration.pairs for place in (pair.first, pair.second))
    held_out = sum(split != Split.TRAIN for split in exploration.splits)
    return {
        "pairs": len(rows),
        "images_with_enough": sum(pairs >= MOST_PAIRS for pairs in pairs_of.values()),
        **{kind: kinds[kind] for kind in ("identical", "alike", "mirrored")},
        "across_classes": sum(row["first_class"] != row["second_class"] for row in rows),
        "straddling": len(across),
        "held_out_images": held_out,
        "held_out_images_seen": len(seen),
        "straddling_pairs": [pair_row(exploration, pair) for pair in across],
    }


def _histogram_rows(exploration: Exploration) -> Iterator[dict[str, Any]]:
    for label in exploration.present():
        counts = exploration.pixels.class_histogram(label).tolist()
        for channel, levels in zip(kernels.CHANNELS, counts, strict=True):
            for level, pixels in enumerate(levels):
                yield {
                    "class": exploration.classes[label],
                    "channel": channel,
                    "level": level,
                    "pixels": pixels,
                }


def _map_rows(exploration: Exploration) -> Iterator[dict[str, Any]]:
    for position, (x, y) in enumerate(exploration.positions.tolist()):
        item = exploration.item(position)
        yield {
            "path": item["path"],
            "class": item["class"],
            "split": item["split"],
            "x": round(x, 4),
            "y": round(y, 4),
        }


def _reasons(exploration: Exploration) -> dict[str, int]:
    """Number of files left out, by kind of reason."""
    reasons = {entry["path"]: entry["reason"] for entry in exploration.store.quarantine()}
    return {printable(reason): len(paths) for reason, paths in grouped(reasons)}


def _range(values: npt.NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, [0, 50, 100]).tolist()
    return {"min": round(low, 3), "median": round(middle, 3), "max": round(high, 3)}


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
