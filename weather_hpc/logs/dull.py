"""Lines that tell a format nothing, such as those of progress bars, known again by their shape."""

import re

LONGEST = 300
"""Bytes of a line whose shape is kept."""

MOST = 20_000
"""Shapes that are kept at a time."""

# Digits in these stand for no digit of a line.
_SILENT = re.compile(rb"\{\d*,?\d*\}|\(\?P<\w+>|\(\?\(\w+\)|0-9")
# Whether two digits are equal, or a range of them, or how one is spelled, is not looked into.
_UNCLEAR = re.compile(rb"\(\?P=|\\[0-9xuUN]|[0-9]-|-[0-9]")


class Dull:
    """The shapes of lines that some expressions, which tell most digits not apart, do not match.

    A line's shape is the line with every digit that they tell not apart from others as one of
    them, ``table`` does that. So lines of one shape are matched all or not at all, and one that
    differs in figures from a line that was tried before need not be tried.
    """

    def __init__(self, *expressions: bytes) -> None:
        source = _SILENT.sub(b"", b" ".join(expressions))
        alike = b"" if _UNCLEAR.search(source) else bytes(set(b"0123456789") - set(source))
        self.table = bytes.maketrans(alike, alike[:1] * len(alike))
        self.shapes: set[bytes] = set()

    def add(self, line: bytes) -> None:
        """``line`` is matched by none of the expressions."""
        if len(line) <= LONGEST:
            if len(self.shapes) >= MOST:
                self.shapes.clear()
            self.shapes.add(line.translate(self.table))
