"""Cells of a reference: durations, rates, shares and counts, as people write them."""

import re
from collections.abc import Sequence

from weather_hpc.logs.fields import SPELLED, UNITS

SECONDS = {
    **UNITS, **SPELLED, "millisec": 1e-3, "d": 86400.0,
    **dict.fromkeys(("ns", "nsec", "nanosecond"), 1e-9),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microsecond"), 1e-6),
}  # fmt: skip
"""Seconds in each unit of time, by its names in the singular."""

IMAGE = ("image", "img", "im", "sample", "example", "picture", "photo", "frame")
"""Words for one image, in the singular."""

LONGEST = 60
"""Characters of a cell with a value."""

_ABSENT = re.compile(
    r"[-–—−.…?/xX✗✘❌]*|n\W?a\W?|none|null|nil|tb[ad]|oom\b.*|(?:cuda )?out[ _]of[ _]memory\b.*"
    r"|(?:cuda )?error|(?:node[ _])?fail(?:ed|s|ure)?|crash(?:ed)?|time(?:d )?[- ]?out|killed"
    r"|cancell?ed\b.*|preempted|not (?:run|measured|available|tested|enough memory)"
    r"|(?:does|did) not fit|dnf|skipped|missing|pending|running|baseline|ref(?:erence)?",
    re.IGNORECASE,
)

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"[a-zµμ]+"
_SPREAD = re.compile(
    rf"(\s*)[(\[]\s*(±|\+/?-|n\s*=|(?:std|sd|σ)\s*[=:])?\s*({_NUMBER})\s*([%x×])?"
    rf"(?:\s*([-–—,]|to|\.\.)\s*{_NUMBER})?\s*[)\]](?:\s*({_UNIT}))?$",
    re.IGNORECASE,
)
"""After a mean, in brackets: its spread, a range, or how many times another row's it is."""

_MARKS = re.compile(
    r"(?:\s*(?:[*†‡§¶]+|\[\^?\w{1,2}\]|\^\{?[a-z]\}?|\((?:base(?:line)?|ref(?:erence)?)\))"
    r"|(?<!10)[⁰¹²³⁴-⁹]+)+$",
    re.IGNORECASE,
)
"""Marks of footnotes, and of the row that others are compared with."""


def is_absent(text: str) -> bool:
    """Whether ``text`` says that there is no value: empty, ``-``, ``N/A``, ``OOM``."""
    return bool(_ABSENT.fullmatch(text))


def decimal_sign(cells: Sequence[str], comma_possible: bool) -> str | None:
    """The decimal sign of a column; None: it has commas of which that cannot be told.

    ``comma_possible``: whether a comma may be it; if not, commas are between thousands.
    """
    text = "\n".join(cells)
    if not re.search(r"\d,\d", text):
        return "."
    groups = r"(?<![\d.,])\d{1,3}(?:,\d{3})+"
    thousands = re.search(rf"{groups}\.\d|(?<![\d.,])\d{{1,3}}(?:,\d{{3}}){{2,}}(?![\d,])", text)
    plain = re.search(r"(?<![\d.,])(?!\d{1,3}\.\d{3}(?!\d))\d+\.\d+(?![\d.,])", text)
    comma = re.search(
        r"\d\.\d{3},\d|(?<![\d.,])(?:\d+,(?:\d{1,2}|\d{4,})|0+,\d+|\d{4,},\d+)(?![\d.,])", text
    )
    if thousands and not comma:
        return "."
    if comma and not thousands and not plain and comma_possible:
        return ","
    if plain and not comma and not comma_possible:
        return "."
    return None


def _normal(text: str, sign: str) -> str:
    """``text`` with a point as decimal sign, without thousands signs and footnote marks."""
    if len(text) > LONGEST:
        raise ValueError("too long")
    text = _MARKS.sub("", text.strip())
    text = re.sub(r"^(?:~|≈|(?:ca|approx)\.?|about|roughly)\s*(?=\d)", "", text)
    other = "," if sign == "." else r"\."
    group = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:(?:{other}\d{{3}})+|(?:[\s'’_]\d{{3}})+)(?!\d)")
    text = group.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    return re.sub(r"(?<=\d),(?=\d)", ".", text) if sign == "," else text


def _mean(text: str) -> tuple[str, str]:
    """A mean without its spread, and the unit that follows the spread (``26 ± 2 min``).

    Raises ValueError for what is no spread.
    """
    mean, unit = re.sub(r"^\(([^()]*)\)", r"\1", text), ""  # (26 ± 2) min
    if found := _SPREAD.search(mean):
        mean = mean[: found.start()]
        space, label, other, sign, until, unit = found.groups()
        digits = "." in mean and not space and other.isdigit()  # 1.55(3) is 1.55 ± 0.03
        plain = re.fullmatch(_NUMBER, mean) and not (label or sign or until or digits)
        if plain and float(other) > float(mean):
            raise ValueError(text)  # rather the same in another unit
    mean, *spread = re.split(r"\s*(?:±|\+/-|\+-|∓)\s*", mean)
    if spread:
        after = re.fullmatch(rf"{_NUMBER}\s*(?:%|({_UNIT}))?", spread[0], re.IGNORECASE)
        if after is None or len(spread) > 1:
            raise ValueError(text)
        unit = after[1] or unit
    return mean, unit or ""


def number(text: str, sign: str | None) -> float:
    """A number: ``1550``, ``1 550``, ``1550 ± 12``, ``1550 (12)``, ``1550*``.

    ``sign`` is its column's decimal sign. Raises ValueError for anything else.
    """
    if sign is None and re.search(r"\d,\d", text):
        raise ValueError(text)
    mean, unit = _mean(_normal(text, sign or "."))
    if unit or not re.fullmatch(rf"[-+]?{_NUMBER}", mean):
        raise ValueError(text)
    return float(mean)


def seconds(text: str, sign: str | None, unit: float | None = None, clock: str = "") -> float:
    """A duration in seconds: ``26 min``, ``1h 05m``, ``0:26:00``, ``1-02:03:04``.

    ``unit`` is that of its column in seconds, which counts where the cell has none; ``clock`` says
    what two numbers are, ``h:m`` or ``m:s``. Raises ValueError for anything else, and for ``26:00``
    where neither says what it is.
    """
    text = re.sub(r"(?<=[a-z]):\s*(?=\d)", " ", text, flags=re.IGNORECASE)  # 2h:03m:04s
    if ":" in text:
        return _clock(_normal(text, "."), unit, clock)
    if sign is None and re.search(r"\d,\d", text):
        raise ValueError(text)
    mean, last = _mean(_normal(text, sign or "."))
    if re.fullmatch(_NUMBER, mean):
        mean = f"{mean} {last}".strip()
    mean = re.sub(rf"^({_NUMBER})\s*\((\D+)\)$", r"\1 \2", mean)
    if re.fullmatch(_NUMBER, mean):
        return float(mean) * (1.0 if unit is None else unit)
    step = rf"({_NUMBER})\s*({_UNIT})\.?"
    parts = re.findall(step, mean, re.IGNORECASE)
    if not parts or not re.fullmatch(rf"{step}(?:(?:,| and)?\s*{step})*", mean, re.IGNORECASE):
        return _unfinished(mean)
    total, smallest = 0.0, float("inf")
    for amount, name in parts:
        size = SECONDS.get(singular(name.lower()))
        if size is None or size >= smallest:
            raise ValueError(text)
        total, smallest = total + float(amount) * size, size
    return total


def _unfinished(text: str) -> float:
    """``1h05`` and ``26min30``: the last number is of the next smaller unit."""
    found = re.fullmatch(r"(\d+)\s*(h|min|m)\s*([0-5]\d)", text, re.IGNORECASE)
    if found is None:
        raise ValueError(text)
    size = SECONDS[found[2].lower()]
    return int(found[1]) * size + int(found[3]) * size / 60


def _clock(text: str, unit: float | None, clock: str) -> float:
    """Seconds of ``h:mm:ss`` with or without days, or of two numbers where it is clear."""
    days, _, rest = re.sub(r"\s*(?:days?,?|d)\s+|(?<=\d)-", "|", text).rpartition("|")
    found = re.fullmatch(r"(\d+):([0-5]\d)(?::([0-5]\d))?(\.\d+)?(?:\s*(h|min)[a-z]*\.?)?", rest)
    if found is None or not re.fullmatch(r"\d*", days):
        raise ValueError(text)
    first, second, fraction = int(found[1]), int(found[2]), float(found[4] or 0)
    if found[3] is not None:
        of_day = first * 3600 + second * 60 + int(found[3])
    elif days:
        raise ValueError(text)
    elif clock == "m:s" or found[4] or found[5] == "min" or (unit == 60 and not clock):
        of_day = first * 60 + second
    elif clock == "h:m" or found[5] == "h" or unit == 3600:
        of_day = first * 3600 + second * 60
    else:
        raise ValueError(text)
    return int(days or 0) * 86400 + of_day + fraction


def rate(text: str, sign: str | None, per_second: float | None = None) -> float:
    """Images per second: ``758.9``, ``758.9 img/s``; ``per_second`` is the unit of its column.

    Raises ValueError for anything else, and where neither has a unit.
    """
    found = re.fullmatch(r"([^a-z(]*?\d[^a-z(]*?)\s*([a-z].*)", text, re.IGNORECASE)
    if found:
        per_second = rate_unit(_SPREAD.sub("", found[2]))
        text = found[1]
    if per_second is None:
        raise ValueError(text)
    return number(text, sign) * per_second


def rate_unit(text: str) -> float | None:
    """Images per second in ``img/s`` or ``samples per minute``; None for another unit."""
    words = re.findall(r"[a-zµ]+|/", text.lower().replace("⁻¹", "").replace("^-1", ""))
    words = [singular(word) for word in words if word not in ("/", "per")]
    if words == ["fps"]:
        return 1.0
    if len(words) == 2 and words[0] in IMAGE and words[1] in SECONDS:
        return 1 / SECONDS[words[1]]
    return None


def share(text: str, sign: str | None, percent: bool = False) -> float:
    """A fraction: ``0.55``, ``55 %``; ``percent``: its column's values are percent."""
    of_both = re.fullmatch(r"[^%(]*[±+][^%(]*%", text)  # 76.1 ± 0.2 %
    marked = of_both or re.match(r"[\d.,]+\s*%", text)
    value = number(text.replace("%", "") if marked else text, sign)
    if of_both and value <= 1:
        raise ValueError(text)  # 0.76 ± 1 %
    return round(value / 100, 12) if percent or marked else value


def factor(text: str, sign: str | None) -> float:
    """A speedup: ``1.98``, ``1.98x``, ``1.98 × (99 %)``."""
    text = _SPREAD.sub("", _MARKS.sub("", text.strip()))
    return number(re.sub(r"\s*[x×]$", "", text, flags=re.IGNORECASE), sign)


def singular(word: str) -> str:
    """``word`` without the ending of its plural, if it has one."""
    if word in SECONDS or word in ("fps", "gbs") or len(word) < 3:
        return word
    if word.endswith("processes"):
        return word.removesuffix("es")
    return word.removesuffix("s") if not word.endswith("ss") else word


_OF_GPUS = r"(?:gpus?|devices?|ranks?|process(?:es)?|procs?|tasks?|workers?|cards?|accelerators?)"
_OF_NODES = r"(?:nodes?|hosts?|servers?|machines?)"
_MODEL = rf"(?!e\d|x\s*\d|.*\b(?:{_OF_NODES}|per|each)\b)[a-z][a-z .-]*\d[\w .-]*"
"""A GPU's: letters, then a number."""
_NAMED = rf"[x×]?\s*{_MODEL}|[x×]\s*\d{{4}}(?:\s*(?:ti|super))?"


def count(text: str) -> tuple[int, int | None]:
    """The number of workers, and that of nodes where the cell has both.

    ``4``, ``4 GPUs``, ``8x A100 (80GB)``, ``2x4``, ``4 nodes x 8``, ``8 (2x4)``. Raises ValueError
    for anything else, and where a product is not what stands before it.
    """
    if len(text) > LONGEST:
        raise ValueError("too long")
    plain = _MARKS.sub("", re.sub(r"\s*\(\d+\s*gi?b?\)", "", text.strip(), flags=re.IGNORECASE))
    if whole := re.fullmatch(r"(\d{1,3}(?:,\d{3})+|\d+)(?:\.0+)?", plain):
        return int(whole[1].replace(",", "")), None
    product = rf"(\d+)\s*{_OF_NODES}?\s*[x×*]\s*(\d{{1,2}})\s*(?:{_OF_GPUS}\b)?"
    product += rf"(?:\s*(?:/|per )\s*{_OF_NODES})?(?:\s+{_MODEL})?"
    if found := re.fullmatch(product, plain, re.IGNORECASE):
        return int(found[1]) * int(found[2]), int(found[1])
    if found := re.fullmatch(rf"(\d+)\s*{_OF_GPUS}?\s*[(=]\s*(.*?)\)?", plain, re.IGNORECASE):
        total = int(found[1])
        if nodes := re.fullmatch(rf"(\d+)\s*{_OF_NODES}", found[2], re.IGNORECASE):
            return total, int(nodes[1])
        if re.fullmatch(product, found[2], re.IGNORECASE) and count(found[2])[0] == total:
            return count(found[2])
        if re.fullmatch(_MODEL, found[2], re.IGNORECASE):
            return total, None
        raise ValueError(text)
    if found := re.fullmatch(rf"(\d+)\s*(?:[x×]?\s*{_OF_GPUS}|{_NAMED})", plain, re.IGNORECASE):
        return int(found[1]), None
    raise ValueError(text)
