"""Image files that could not be used, and when they are too many to go on without them.

A disk or mount that is gone makes every image on it vanish, and a study of the others would look
like any other study.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from weather_hpc.dataset.catalogue import Catalogue
from weather_hpc.dataset.image_file import printable
from weather_hpc.errors import FailedError
from weather_hpc.text import brief, counted

MOST_REASONS = 3
"""Kinds of reasons on a line."""

_PARTICULAR = re.compile(r'"[^"]*"|\b0x[0-9a-f]+|\d+')


@dataclass
class Unreadable:
    """The image files among ``files`` that cannot be used.

    ``most``: the share of them, 0 to 1, that is accepted. A single file always is, unless ``most``
    is 0.
    """

    files: int
    most: float
    reasons: dict[str, str] = field(default_factory=dict)
    """Path -> why."""
    folders: dict[str, str] = field(default_factory=dict)
    """Folders that cannot be read -> why; nobody knows how many images they hold."""

    @classmethod
    def of(cls, catalogue: Catalogue, most: float) -> "Unreadable":
        """What a scan found."""
        found = cls(len(catalogue.items), most)
        for entry in catalogue.quarantine:
            if entry.images is None:
                found.folders[entry.path] = entry.reason
            elif entry.images:
                found.reasons[entry.path] = entry.reason
        found.files += len(found.reasons)
        return found

    def add(self, reasons: Mapping[str, str]) -> None:
        """Add images that could not be decoded: path -> reason."""
        self.reasons |= reasons

    def __len__(self) -> int:
        return len(self.reasons) + len(self.folders)

    def check(self) -> None:
        """Raise FailedError where they are too many."""
        accepted = self.most * self.files
        if self.most:
            accepted = max(accepted, 1)
        if len(self.reasons) > accepted or (self.folders and self.most < 1):
            unread = bool(self.folders) or any(
                "cannot be read" in why for why in self.reasons.values()
            )
            advice = "is a disk or mount gone?" if unread else "raise it to go on without them"
            raise FailedError(f"{self}; more than --max-unreadable {100 * self.most:g}%: {advice}")

    def __str__(self) -> str:
        parts = []
        if self.reasons:
            share = 100 * len(self.reasons) / self.files
            files = f"{len(self.reasons)} of {counted(self.files, 'image file')}"
            parts.append(f"{files} ({brief(share, 2)} %) cannot be used: {examples(self.reasons)}")
        if self.folders:
            folders = counted(len(self.folders), "folder")
            parts.append(f"{folders} cannot be read: {examples(self.folders)}")
        return "; ".join(parts) or "all image files can be used"


def examples(reasons: Mapping[str, str]) -> str:
    """The most frequent kinds of reasons, each with its number and a file, and how many more.

    ``reasons``: path -> why.
    """
    texts = [f"{len(paths)} × {why} ({printable(min(paths))})" for why, paths in grouped(reasons)]
    text = ", ".join(texts[:MOST_REASONS])
    more = len(texts) - MOST_REASONS
    return f"{text} and {counted(more, 'other reason')}" if more > 0 else text


def grouped(reasons: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Kinds of reasons and the paths of each, the most frequent first.

    ``reasons``: path -> why. Those that differ in numbers and quoted words are of one kind.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for path, reason in reasons.items():
        kinds[_PARTICULAR.sub("…", reason)].append(path)
    named = []
    for kind, paths in kinds.items():
        texts = {reasons[path] for path in paths}
        named.append((texts.pop() if len(texts) == 1 else kind, paths))
    return sorted(named, key=lambda entry: -len(entry[1]))
