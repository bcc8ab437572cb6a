"""The named groups that a format's regular expressions may have, and what they are turned into."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

Value = float | int | str

UNITS = {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
"""Seconds in a unit; ``hms`` is accepted too: 3:25 or 1:03:25.5."""

SPELLED = {"millisecond": 1e-3, "msec": 1e-3, "sec": 1.0, "second": 1.0, "m": 60.0,
            "minute": 60.0, "hour": 3600.0, "hr": 3600.0, "day": 86400.0}  # fmt: skip
"""Seconds in a unit by its other names, in the singular."""

_WHOLE = (
    "rank", "epoch", "current_epoch", "epochs", "step", "steps", "resumed_epoch", "resumed_step",
    "world_size", "available_gpus", "nodes", "batch_size", "batch_size_global", "images",
    "train_images", "workers", "run",
)  # fmt: skip
_REAL = ("loss", "train_loss", "test_loss", "images_per_s", "epoch_reached")
_SHARE = ("accuracy", "test_accuracy")
_TEXT = ("model", "job_id", "failed")
_WORD = ("strategy", "device", "backend")
_TIMES = ("time", "total", "outer", "wall", "so_far", "step_time", "started", "stopped")
_DATES = ("started", "stopped")
_PROGRESS = ("progress", "progress_from_0")
_FROM_0 = ("step_from_0",)
_MARKS = ("epoch_start", "epoch_end", "ignored")

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_REAL_TEXT = rf"(?:{_NUMBER}|[-+]?(?:nan|inf)\b)"
_UNIT = rf"(?:{'|'.join(UNITS)}|(?:{'|'.join(SPELLED)})s?|mins)(?![a-z])"
_DAYS = r"(?:\d+(?:[ ]days?,?[ ]|-))?"
_NAMED = rf"(?:[ ]?{_UNIT}|[ ]?\({_UNIT}\)|[ ]?\[{_UNIT}\])"
_DURATION = (
    rf"(?:{_DAYS}\d+:\d\d:\d\d(?:\.\d+)?|\d+:\d\d\.\d+"
    # (min): 3.4
    rf"|(?:in[ ]{_UNIT}|\({_UNIT}\)|\[{_UNIT}\])[ ]?[\"']?[ ]?[:=|]?[ ]*{_NUMBER}(?![ ]?[a-z(])"
    rf"|{_NUMBER}(?:{_NAMED}(?:(?:,?[ ]and[ ]|,[ ]|[ ])?[\d.]+[ ]?{_UNIT}){{0,3}})?)"
)
_IN_PERCENT = r"[ ]?[(\[](?:%|percent)[)\]][\"']?[ ]?[:=|]?[ ]*"
"""What stands between the word and the number in ``acc (%): 0.32``."""

_UNIT_FIRST = re.compile(rf"(?:in )?[(\[]?({_UNIT})[)\]]?[\"' :=|]*({_NUMBER})")
_AMOUNT = re.compile(rf"({_NUMBER}) ?[(\[]?([a-z]+)?[)\]]?(?:,? and )?[, ]*")

_THOUSANDS = re.compile(rb"(?<=\d),(?=\d{3}(?!\d))")

_TIME_OF_DAY = re.compile(rb"[01]\d:[0-5]\d:[0-5]\d(?:\.\d+)?|2[0-3]:[0-5]\d:[0-5]\d(?:\.\d+)?")

MOST_DIGITS = 15
LONGEST_TEXT = 100


class Clock(float):
    """Seconds of 12:00:10, which may be a time of day as well as a duration."""


@dataclass(frozen=True)
class Field:
    """One named group: the value that it holds and how its text is converted."""

    name: str
    """Without the unit."""
    convert: Callable[[bytes], Value]
    """Raises ValueError for text that is no such value."""
    text: str = r"\S+"
    """A regular expression of the texts that are usual for it."""


def field(group: str) -> Field | None:
    """What the group ``group`` holds; None for a name that is not known."""
    if group in _TIMES:
        return Field(group, _duration, _DURATION)
    name, _, unit = group.rpartition("_")
    if name in _TIMES and unit in UNITS:
        factor = UNITS[unit]
        return Field(name, float if factor == 1 else lambda text: float(text) * factor, _NUMBER)
    if name in _TIMES and unit == "hms":
        return Field(name, _clock, rf"{_DAYS}\d+(?::\d\d)+(?:\.\d+)?")
    if name in _DATES and unit == "date":
        return Field(name, _date, r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?")
    if name in _SHARE and unit == "percent":
        return Field(name, lambda text: _share(text.rstrip(b" %") + b"%"), _NUMBER)
    if group in _WHOLE:
        return Field(group, _whole, r"\d+")
    if group in _PROGRESS:
        # of an index that counts from 0 the last step's is one less than the number of steps
        convert = partial(_progress, more=int(group != "progress"))
        return Field("progress", convert, r"\d+[ ]*/[ ]*\d+")
    if group in _FROM_0:
        return Field(group.removesuffix("_from_0"), lambda text: _whole(text) + 1, r"\d+")
    if group in _REAL:
        return Field(group, float, _REAL_TEXT)
    if group in _SHARE:
        return Field(
            group, _share, rf"(?:\d+/\d+|{_IN_PERCENT}{_REAL_TEXT}|{_REAL_TEXT}(?:[ ]?%)?)"
        )
    if group in _WORD:
        return Field(group, lambda text: _text(text).lower())
    return Field(group, _text) if group in _TEXT + _MARKS else None


def known() -> list[str]:
    """Every name that a group may have."""
    times = [f"{name}_{unit}" for name in _TIMES for unit in (*UNITS, "hms")]
    times += [*_TIMES, *(f"{name}_date" for name in _DATES)]
    shares = [name for share in _SHARE for name in (share, f"{share}_percent")]
    return [*_PROGRESS, *_FROM_0, *_WHOLE, *_REAL, *shares, *_TEXT, *_WORD, *_MARKS, *times]


def _whole(text: bytes) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError("too many digits")
    return int(_THOUSANDS.sub(b"", text))


def _progress(text: bytes, more: int = 0) -> float:
    """The fraction in 100/215, of ``more`` than the first number."""
    done, of = text.split(b"/")
    return (_whole(done.strip()) + more) / max(1, _whole(of.strip()))


def _share(text: bytes) -> float:
    """A fraction; with a percent sign, its hundredth; a quotient of counts such as 98/100."""
    if b"/" in text:
        right, of = map(int, text.split(b"/"))
        return round(right / max(1, of), 12)
    if text.lstrip()[:1] in (b"(", b"["):
        text = re.split(rb"[)\]][\"' :=|]*", text)[-1] + b"%"
    if text.endswith(b"%"):
        # rounded, so that 54.3 % is 0.543 and not 0.5429999999999999
        return round(float(text.rstrip(b" %")) / 100, 12)
    return float(text)


def _clock(text: bytes) -> float:
    """Seconds of 3:25, 1:03:25.5, ``1 day, 1:03:25`` (Python's) or 1-01:03:25 (Slurm's)."""
    days, _, clock = re.sub(rb" days?,? |(?<=\d)-", b"|", text).rpartition(b"|")
    parts = [float(part) for part in clock.split(b":")]
    if not (days or b"0").isdigit() or not all(0 <= part < math.inf for part in parts):
        raise ValueError("no time of day or duration")
    seconds = 86400.0 * int(days or 0)
    for power, part in enumerate(reversed(parts)):
        seconds += part * 60**power
    return seconds


def _date(text: bytes) -> float:
    """Seconds since 1970 of 2021-06-01 12:07:11.5, taken as UTC: only differences count."""
    return (
        datetime.fromisoformat(text.decode("ascii").replace(",", "."))
        .replace(tzinfo=UTC)
        .timestamp()
    )


def _duration(text: bytes) -> float:
    """Seconds; 91.2 s, 1m31.2s, (min): 1.52, 0:01:31.2, and seconds where there is no unit."""
    # minutes before it: a decimal comma, and none between thousands
    plain = re.sub(r"(?<=m)(\d+),", r"\1.", text.decode("ascii").lower())
    if first := _UNIT_FIRST.fullmatch(plain):
        plain = f"{first[2]} {first[1]}"
    elif b":" in text:
        return Clock(_clock(text)) if _TIME_OF_DAY.fullmatch(text) else _clock(text)
    seconds, smallest = 0.0, math.inf
    for number, unit in _AMOUNT.findall(plain):
        factor = UNITS.get(unit or "s") or UNITS.get(unit.rstrip("s")) or SPELLED[unit.rstrip("s")]
        if factor >= smallest:
            raise ValueError("units that do not grow smaller")
        smallest = factor
        seconds += float(number) * factor
    return seconds


def _text(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace").strip()[:LONGEST_TEXT]
