"""File names as printable text: real folders hold names with line breaks and stray bytes."""

import re

_UNPRINTABLE = re.compile(r"[\\\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")


def printable(name: str) -> str:
    r"""``name`` on one line of valid UTF-8; what cannot stand there becomes ``\uXXXX``.

    Python holds the bytes of a name that is not UTF-8 as lone surrogates, which no text file
    and no terminal takes. :func:`original` is the way back.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", name)


def original(text: str) -> str:
    """The name that :func:`printable` made ``text`` from."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
