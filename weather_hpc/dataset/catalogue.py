"""A folder of class folders -> Catalogue: every usable image, and why other files are not.

Its images are split into training and test images.

Rules, independent of the order in which the file system lists its entries:

* a class is a folder in the root that holds at least one usable image, at any depth;
* hidden files and folders (``.name``) are skipped silently;
* a file that cannot be used is quarantined with the reason, never an error;
* symbolic links are followed, and a file or folder comes before links to it
  (:mod:`weather_hpc.dataset.class_folders`);
* files of equal content are duplicates of the first one in path order. In one class all are
  kept; of equal files in different classes the first is kept and the rest are quarantined.
"""

import hashlib
import heapq
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path

from weather_hpc import cli
from weather_hpc.dataset.class_folders import Quarantined, class_of, walk
from weather_hpc.dataset.image_file import (
    ImageError,
    NoImageError,
    has_image_name,
    printable,
    read_header,
)
from weather_hpc.errors import UserError
from weather_hpc.study.images import ImageCount

HASHING_THREADS = 4
BATCH = 1024
"""Files handed to the threads at a time: a waiting file takes more memory than its item."""


@dataclass(frozen=True, slots=True)
class Item:
    """One usable image. ``path`` is relative to the root, ``size`` in bytes."""

    path: str
    label: int
    size: int
    sha256: str
    format: str
    width: int
    height: int
    duplicate_of: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """What a folder of class folders holds; ``label`` of an item is an index into ``classes``."""

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    quarantine: tuple[Quarantined, ...]

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 that is equal for equal classes, paths and contents, wherever the root is."""
        digest = hashlib.sha256()
        for name in self.classes:
            digest.update(os.fsencode(name) + b"\0")
        for item in self.items:
            digest.update(os.fsencode(item.path) + b"\0" + f"{item.label} {item.sha256}\n".encode())
        return digest.hexdigest()

    @property
    def duplicates(self) -> int:
        """How many items repeat the content of another item."""
        return sum(item.duplicate_of is not None for item in self.items)

    def class_counts(self) -> dict[str, int]:
        """Images per class."""
        counts = Counter(item.label for item in self.items)
        return {name: counts[label] for label, name in enumerate(self.classes)}

    def by_class(self) -> list[list[Item]]:
        """The items of each class, in the classes' order."""
        members: list[list[Item]] = [[] for _ in self.classes]
        for item in self.items:
            members[item.label].append(item)
        return members

    def subset(self, images: int, seed: int = 0) -> "Catalogue":
        """``images`` of the items, chosen by ``seed``, each class in proportion.

        A larger subset includes, class by class, the smaller one of the same seed. Raises
        UserError where there are fewer images.
        """
        if images > len(self.items):
            raise UserError(
                f"{self.root}: {images} images requested, {len(self.items)} usable images found"
            )
        by_class = self.by_class()
        chosen: list[Item] = []
        for share, members in zip(
            proportional(images, [*map(len, by_class)]), by_class, strict=True
        ):
            chosen += heapq.nsmallest(share, members, key=lambda item: draw(seed, "subset", item))
        chosen.sort(key=lambda item: item.path)
        return replace(self, items=tuple(_mark_duplicates(chosen)))


def draw(seed: int, purpose: str, item: Item) -> str:
    """A pseudo-random sort key of ``item``: equal on every machine and version, unlike a
    generator's stream, and independent of the other items."""
    return hashlib.sha256(
        f"{seed} {purpose} {item.sha256} {printable(item.path)}".encode()
    ).hexdigest()


def proportional(total: int, weights: list[int]) -> list[int]:
    """``total`` divided in proportion to ``weights``: whole numbers by largest remainder."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    remainders = [-(total * weight % whole) for weight in weights]
    order = sorted(range(len(weights)), key=remainders.__getitem__)
    for index in order[: total - sum(shares)]:
        shares[index] += 1
    return shares


def scan(root: Path) -> Catalogue:
    """The catalogue of ``root``: every file is read once and hashed by a few threads.

    Raises UserError where the folder is missing or holds no class folder with an image in it.
    """
    _check_folder(root)
    files, quarantine = walk(root)
    found: list[Item] = []
    with (
        cli.progress("reading images", total=len(files)) as advance,
        warnings.catch_warnings(),
        ThreadPoolExecutor(HASHING_THREADS) as threads,
    ):
        # Pillow warns about odd metadata in usable images; what is not usable raises.
        warnings.simplefilter("ignore")
        for first in range(0, len(files), BATCH):
            for result in threads.map(partial(_inspect, root), files[first : first + BATCH]):
                if isinstance(result, Item):
                    found.append(result)
                else:
                    quarantine.append(result)
                advance()
    return _assemble(root, found, quarantine)


def count_images(root: Path) -> ImageCount:
    """How many images ``root`` has at most, by the rules of :func:`scan` but without reading them.

    Files that turn out not to be images are counted, and duplicates. Raises UserError as
    :func:`scan` does.
    """
    _check_folder(root)
    files, quarantine = walk(root)
    for path in files:
        found = _inspect(root, path)
        if isinstance(found, Item):
            break
        quarantine.append(found)
    else:
        raise UserError(_why_nothing(root, quarantine))
    return split_count(Counter(map(class_of, files)).values(), str(root))


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such folder"
        raise UserError(f"{root}: {what}; expected a folder of class folders with images")


def _inspect(root: Path, path: str) -> Item | Quarantined:
    """Read one file: an item (its label is not known yet), or why it is not an image."""
    try:
        with (root / path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return Quarantined(path, "empty file", int(has_image_name(path)))
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            image = read_header(file)
    except OSError as error:
        return Quarantined(path, f"cannot be read: {error.strerror or error}", 1)
    except NoImageError as error:
        return Quarantined(path, str(error), int(has_image_name(path)))
    except ImageError as error:
        return Quarantined(path, str(error), 1)
    return Item(path, -1, size, sha256, image.format, image.width, image.height)


def _assemble(root: Path, found: list[Item], quarantine: list[Quarantined]) -> Catalogue:
    """Give each item its label, and keep or quarantine duplicates."""
    if not found:
        raise UserError(_why_nothing(root, quarantine))
    first = _originals(root, found)
    kept: list[Item] = []
    for item in found:
        original = first[item.sha256]
        if class_of(original) == class_of(item.path):
            kept.append(item)
        else:
            text = f"same content as {printable(original)}, under another class"
            quarantine.append(Quarantined(item.path, text))
    classes = sorted({class_of(item.path) for item in kept})
    label = {name: index for index, name in enumerate(classes)}
    items = _mark_duplicates(replace(item, label=label[class_of(item.path)]) for item in kept)
    return Catalogue(
        root, tuple(classes), tuple(items), tuple(sorted(quarantine, key=lambda entry: entry.path))
    )


def _originals(root: Path, found: list[Item]) -> dict[str, str]:
    """Content hash -> the first path with it. A file comes before links to it in other classes."""
    first: dict[str, str] = {}
    for item in found:
        path = first.setdefault(item.sha256, item.path)
        if class_of(path) != class_of(item.path) and _is_link(root, path):
            first[item.sha256] = path if _is_link(root, item.path) else item.path
    return first


def _is_link(root: Path, path: str) -> bool:
    """Whether a link is on the way from ``root`` to a file."""
    return (root / path).resolve() != root.resolve() / path


def _why_nothing(root: Path, quarantine: list[Quarantined]) -> str:
    expected = "expected DIR/<class>/<image>"
    loose = [
        entry for entry in quarantine if "/" not in entry.path and (root / entry.path).is_file()
    ]
    if not quarantine:
        return f"{root}: the folder is empty; {expected}"
    if len(loose) == len(quarantine):
        return f"{root}: files but no class folders; {expected}"
    example = next(entry for entry in quarantine if entry not in loose)
    return (
        f"{root}: no usable image in any class folder (for example "
        f"{printable(example.path)}: {example.reason}); {expected}"
    )


def _mark_duplicates(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order, ``duplicate_of`` set to the first item of the same content."""
    first: dict[str, str] = {}
    for item in items:
        path = first.setdefault(item.sha256, item.path)
        yield replace(item, duplicate_of=None if path == item.path else path)


class Split(StrEnum):
    """What an image is used for. A scaling study tunes nothing, so there is no validation split."""

    TRAIN = "train"
    TEST = "test"


SHARES = {Split.TRAIN: 4, Split.TEST: 1}
"""Images of each split, in proportion."""


def split_count(per_class: Iterable[int], where: str) -> ImageCount:
    """The images of classes of these sizes, and how many of them :func:`make_split` trains on.

    Exact without duplicates, which stay together in one split.
    """
    sizes = list(per_class)
    index, shares = [*SHARES].index(Split.TRAIN), [*SHARES.values()]
    return ImageCount(where, sum(sizes), sum(proportional(n, shares)[index] for n in sizes))


def make_split(catalogue: Catalogue, seed: int = 0) -> list[Split]:
    """The split of each item, in the items' order.

    Every class is divided in the proportion of :data:`SHARES` (largest remainder), and images of
    equal content stay together. Equal input and seed give an equal split on every machine.
    """
    splits: dict[str, Split] = {}
    for members in catalogue.by_class():
        splits |= _split_class(members, seed)
    return [splits[item.sha256] for item in catalogue.items]


def _split_class(members: list[Item], seed: int) -> dict[str, Split]:
    """Content hash -> split, for the items of one class."""
    copies = Counter(item.sha256 for item in members)
    originals = [item for item in members if item.duplicate_of is None]
    originals.sort(key=lambda item: draw(seed, "split", item))
    room = dict(zip(SHARES, proportional(len(members), [*SHARES.values()]), strict=True))
    splits = {}
    for item in originals:
        split = max(room, key=room.__getitem__)
        splits[item.sha256] = split
        room[split] -= copies[item.sha256]
    return splits
