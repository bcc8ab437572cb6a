"""The named groups that a format's regular expressions may have, and what they are turned into."""

import math
from collections.abc import Callable
from dataclasses import dataclass

Value = float | int | str

UNITS = {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
"""Seconds in a unit; ``hms`` is known beside these: 3:25 or 1:03:25.5."""

_WHOLE = (
    "rank", "epoch", "epochs", "world_size", "available_gpus", "nodes", "batch_size",
    "batch_size_global", "images", "train_images", "workers",
)  # fmt: skip
_REAL = ("loss", "test_loss", "images_per_s")
_SHARE = ("accuracy", "test_accuracy")
_TEXT = ("strategy", "device", "backend", "model", "job_id")
_TIMES = ("time", "total")

MOST_DIGITS = 15
LONGEST_TEXT = 100


@dataclass(frozen=True)
class Field:
    """One named group: the figure that it holds and how its text becomes a value."""

    name: str
    """Without the unit."""
    convert: Callable[[bytes], Value]
    """Raises ValueError for text that is no such value."""


def field(group: str) -> Field | None:
    """What the group ``group`` holds; None for a name that is not known."""
    name, _, unit = group.rpartition("_")
    if name in _TIMES and unit in UNITS:
        factor = UNITS[unit]
        return Field(name, float if factor == 1 else lambda text: float(text) * factor)
    if name in _TIMES and unit == "hms":
        return Field(name, _clock)
    if name in _SHARE and unit == "percent":
        return Field(name, lambda text: _share(text.rstrip(b" %") + b"%"))
    if group in _WHOLE:
        return Field(group, _whole)
    if group in _REAL:
        return Field(group, float)
    if group in _SHARE:
        return Field(group, _share)
    return Field(group, _text) if group in _TEXT else None


def known() -> list[str]:
    """Every name that a group may have."""
    times = [f"{name}_{unit}" for name in _TIMES for unit in (*UNITS, "hms")]
    shares = [name for share in _SHARE for name in (share, f"{share}_percent")]
    return [*_WHOLE, *_REAL, *shares, *_TEXT, *times]


def _whole(text: bytes) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _share(text: bytes) -> float:
    """A fraction; with a percent sign, its hundredth."""
    if text.endswith(b"%"):
        # rounded, so that 54.3 % is 0.543 and not 0.5429999999999999
        return round(float(text.rstrip(b" %")) / 100, 12)
    return float(text)


def _clock(text: bytes) -> float:
    seconds = 0.0
    for part in text.split(b":"):
        value = float(part)
        if not 0 <= value < math.inf:
            raise ValueError("no time of day or duration")
        seconds = seconds * 60 + value
    return seconds


def _text(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace").strip()[:LONGEST_TEXT]
