"""The summary of a store's images."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from weather_hpc.dataset.catalogue import Catalogue
from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.store import Store
from weather_hpc.runs.images_summary import ClassCount, ImagesSummary, Reason, Sides
from weather_hpc.text import alike, clean

MOST_REASONS = 20


def summary_of(store: Store, catalogue: Catalogue | None = None) -> ImagesSummary:
    """The images of ``store``; with the ``catalogue`` that it was made of, their files too.

    Raises UserError where a table of the store is damaged.
    """
    import numpy as np

    count = len(store.classes)
    by_split = [np.bincount(store.labels[store.rows(of)], minlength=count) for of in _SPLITS]
    summary = ImagesSummary(
        checksum=store.checksum,
        image_size_px=store.size,
        decoder=str(store.header["resize"]),
        classes={
            printable(name): ClassCount(train=int(train), test=int(test))
            for name, train, test in zip(store.classes, *by_split, strict=True)
        },
        quarantined=_reasons((e["path"], e["reason"]) for e in store.quarantine()),
        damaged=_reasons(store.damaged().items()),
        duplicates=sum(bool(row["duplicate_of"]) for row in store.items) if not catalogue else 0,
    )
    if catalogue is None:
        return summary
    items = catalogue.items
    return summary.model_copy(
        update={
            "data": printable(str(catalogue.root)),
            "duplicates": catalogue.duplicates,
            "formats": dict(sorted(Counter(item.format for item in items).items())),
            "width": _sides([item.width for item in items]),
            "height": _sides([item.height for item in items]),
            "size_bytes": sum(item.size for item in items),
        }
    )


_SPLITS = ("train", "test")


def _sides(pixels: Sequence[int]) -> Sides | None:
    if not pixels:
        return None
    return Sides(low=min(pixels), median=statistics.median(pixels), high=max(pixels))


def _reasons(files: Iterable[tuple[str, str]]) -> list[Reason]:
    """``files``, each with its reason, by what the reasons have in common; the most frequent."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in files:
        found[alike(reason, quoted=True)].append((path, reason))
    most = sorted(found.values(), key=len, reverse=True)[:MOST_REASONS]
    return [
        Reason(reason=clean(each[0][1]), files=len(each), example=printable(each[0][0]))
        for each in most
    ]
