"""A picture of the report that is not drawn by it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A picture of the report that is not drawn by it."""

    name: str
    """Of its file, and its id on the page."""
    title: str
    text: str
    """What it shows, for screen readers."""
    png: bytes
