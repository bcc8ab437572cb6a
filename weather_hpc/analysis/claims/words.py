"""Settings, times and intervals of claims in words."""

from collections.abc import Iterable, Mapping, Sequence

from weather_hpc.analysis.claims.rules import Choice
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import Interval, median_interval
from weather_hpc.analysis.table import training_words
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import MEASURED
from weather_hpc.text import brief

MOST_NAMED = 8
"""So many configurations are named; then their number."""

_BATCH = {
    "batch_size": "batch", "batch_size_per_device": "batch", "batch_size_global": "global batch",
}  # fmt: skip


def settings_words(stage: Stage, settings: Mapping[str, object]) -> str:
    """``settings`` by column as ``ddp on cuda, 2 ranks, batch 32``.

    A value may be a :class:`Choice` of several. One that is None is left out.
    """
    of, known = MEASURED[stage], {c: v for c, v in settings.items() if v is not None}
    words = [_text(known.pop("study"))] if "study" in known else []
    if "device" in known:
        device, strategy = _text(known.pop("device")), known.pop("strategy", None)
        words.append(training_words(_text(strategy), device) if strategy else f"on {device}")
    words += [_text(known.pop(name)) for name in ("operation", of.method) if name in known]
    if "workers" in known:
        words.append(_workers(known.pop("workers"), of.worker))
    for name, word in _BATCH.items():
        if name in known:
            words.append(f"{word} {_text(known.pop(name))}")
    words += [f"{name} {_text(value)}" for name, value in known.items()]
    return ", ".join(words) or f"any {of.title.lower()}"


def _text(value: object) -> str:
    if not isinstance(value, Choice):
        return number(value) if isinstance(value, float) else str(value)
    if value.values:
        return " and ".join(
            filter(None, [", ".join(map(str, value.values[:-1])), str(value.values[-1])])
        )
    if value.low is None or value.high is None:
        return f"{value.low:g} or more" if value.low is not None else f"up to {value.high:g}"
    return f"{value.low:g} to {value.high:g}"


def _workers(value: object, unit: str) -> str:
    one = value == 1 or (isinstance(value, Choice) and value.values == (1,))
    return f"{_text(value)} {unit}" if one else f"{_text(value)} {unit}s"


def number(value: float) -> str:
    """``value`` with four significant digits, as many as printed times have."""
    return brief(value) if abs(value) >= 1000 else f"{value:.4g}"


def seconds(group: Group) -> str:
    """The median time of ``group`` with its interval, such as ``97 s (96–98)``."""
    value = group.median("time_s")
    assert value is not None  # noqa: S101 - configurations of claims have a time
    return f"{number(value)} s{interval(median_interval(group.values('time_s')))}"


def interval(ends: Interval) -> str:
    """`` (96–98)``; empty where there is none."""
    low, high = ends
    return "" if low is None or high is None else f" ({number(low)}–{number(high)})"


def listed(texts: Iterable[str], most: int = MOST_NAMED) -> str:
    """Each of ``texts`` once, the first few of them, and how many more there are."""
    known: Sequence[str] = list(dict.fromkeys(texts))
    more = f"; and {len(known) - most} more" if len(known) > most else ""
    return "; ".join(known[:most]) + more
