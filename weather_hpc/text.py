"""Readable numbers and text; escapes for terminals, Markdown and LaTeX."""

import math
import re
from typing import Any


def counted(number: int | None, noun: str) -> str:
    """``1 worker``, ``2 workers``; ``? workers`` where the number is not known."""
    return f"{'?' if number is None else number} {noun}" + ("" if number == 1 else "s")


def brief(value: float, digits: int = 3) -> str:
    """``value`` in running text: ``digits`` significant digits, no trailing zeros.

    No exponent where it can be avoided.
    """
    return f"{value:,.0f}" if 10**digits - 0.5 <= abs(value) < 1e9 else f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """``seconds`` in running text: ``42 s``, ``12 min``, ``3 h 05 min``, ``2 days 4 h``."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{hours // 24} days {hours % 24} h"


def storage(size: int) -> str:
    """``size`` bytes as ``1.4 GB`` or ``0.25 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def clean(text: str) -> str:
    """``text`` on one line and writable as UTF-8: what is not printable is shown as an escape."""
    one_line = " ".join(text.split())
    if one_line.isprintable():
        return one_line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in one_line)


_QUOTED = re.compile(r"""(?<!\w)(?:'[^']*'|"[^"]*")(?!\w)""")
_PARTICULAR = re.compile(
    r"""(?<!\w)(?:'[^'\d/]*[\d/][^']*'|"[^"\d/]*[\d/][^"]*")(?!\w)"""
    r"|rank \d+ on \S+|(?<=[A-Z)] )on \S+"
)
"""What differs between messages that say the same: quoted paths and names of hosts."""
_NUMBER_OR_PATH = re.compile(r"[\d/]")


def alike(message: str, *, quoted: bool = False) -> str:
    """``message`` without numbers, paths and hosts: equal for messages that say the same.

    ``quoted``: without quoted names, too.
    """
    text = _QUOTED.sub("", message) if quoted else message
    words = _PARTICULAR.sub("", text).split()
    return " ".join(word for word in words if not _NUMBER_OR_PATH.search(word))


_DIGITS = {
    "speedup": 2, "published_speedup": 2, "ratio": 2, "efficiency": 2, "test_accuracy": 3,
    "load_balance": 2, "communication_efficiency": 2, "parallel_efficiency": 2,
    "computation_scaling": 2, "global_efficiency": 2,
}  # fmt: skip


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "{''}",
    "×": r"$\times$", "±": r"$\pm$", "–": r"\textendash{}", "…": r"\ldots{}",
}  # fmt: skip


def shown(column: str, value: Any) -> str:
    """``value`` of ``column`` for display: few digits, empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        name = re.sub(r"_\d+$", "", column)  # speedup_4: of four workers
        return f"{value:.{_DIGITS[name]}f}" if name in _DIGITS else significant(value)
    return str(value)


def significant(value: float, digits: int = 3) -> str:
    """``value`` with three significant digits and never an exponent where it can be avoided."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def rounded(value: Any) -> Any:
    """A float to six significant digits, as machine-readable tables hold it; NaN is None."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def markdown(text: str) -> str:
    """``text`` with the special characters of Markdown and HTML escaped.

    An underscore inside a word needs no escape.
    """
    return re.sub(r"([\\`*\[\]<>|~&]|\b_|_\b)", r"\\\1", " ".join(text.split()))


def latex(text: str) -> str:
    """``text`` on one line with LaTeX's special characters escaped.

    A character that pdflatex's fonts lack is shown as its code point.
    """
    escaped = "".join(map(_latex_character, " ".join(text.split())))
    return re.sub("-(?=-)", "-{}", escaped)  # two hyphens are no dash


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii():
        return character
    try:
        character.encode("latin-1")
    except UnicodeEncodeError:
        return rf"\textbackslash{{}}u{ord(character):04x}"
    return character


LONGEST = 4000
"""Characters of an error; more than that is content of a file rather than a message."""


def one_line(error: BaseException) -> str:
    """The error's text as :func:`shortened`."""
    return shortened(str(error))


def shortened(message: str) -> str:
    """``message`` on one line; what is not printable, such as colours, is an escape."""
    text = clean(message)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
