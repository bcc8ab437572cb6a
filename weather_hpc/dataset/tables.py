"""The store's two CSV files: one row per image, one row per file that was left out."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from weather_hpc.dataset.catalogue import Catalogue
from weather_hpc.dataset.names import original, printable

ITEM_COLUMNS = ["row", "path", "class", "split", "sha256", "duplicate_of", "valid"]
QUARANTINE_COLUMNS = ["path", "reason"]
NAME_COLUMNS = ("path", "class", "duplicate_of")


def items_csv(catalogue: Catalogue, split: Sequence[str], failed: dict[int, str]) -> str:
    """Every item with its side; rows in ``failed`` are not valid."""
    rows = [
        [
            row,
            printable(item.path),
            printable(catalogue.classes[item.label]),
            split[row],
            item.sha256,
            printable(item.duplicate_of or ""),
            int(row not in failed),
        ]
        for row, item in enumerate(catalogue.items)
    ]
    return _text(ITEM_COLUMNS, rows)


def quarantine_csv(catalogue: Catalogue, failed: dict[int, str]) -> str:
    """What the catalogue left out and what could not be decoded, with the reasons."""
    left_out = [(entry.path, entry.reason) for entry in catalogue.quarantine]
    left_out += [(catalogue.items[row].path, why) for row, why in failed.items()]
    return _text(QUARANTINE_COLUMNS, [[printable(path), why] for path, why in sorted(left_out)])


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of either file one by one, with names as the file system has them."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {key: original(row[key]) if key in NAME_COLUMNS else row[key] for key in row}


def _text(columns: list[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
