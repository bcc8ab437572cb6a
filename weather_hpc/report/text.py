"""Figures and words as a person reads them, escaped for Markdown and LaTeX."""

import re
from typing import Any

_DIGITS = {
    "speedup": 2, "speedup_low": 2, "speedup_high": 2, "efficiency": 2, "test_accuracy": 3,
}  # fmt: skip

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def shown(column: str, value: Any) -> str:
    """``value`` of ``column`` for reading: few digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS[column]}f}" if column in _DIGITS else significant(value)
    return str(value)


def significant(value: float, digits: int = 3) -> str:
    """``value`` with three significant digits and never an exponent where it can be avoided."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def rounded(value: Any) -> Any:
    """A float to six significant digits, as machine-readable tables hold it."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def markdown(text: str) -> str:
    """``text`` with what Markdown, or HTML in it, would take as a sign made harmless.

    An underscore inside a word is no sign, and stays readable.
    """
    return re.sub(r"([\\`*\[\]<>|~&]|\b_|_\b)", r"\\\1", text)


def latex(text: str) -> str:
    """``text`` with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in text)
