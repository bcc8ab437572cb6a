"""What libtiff reports of a file: it would print that to the terminal, from inside Pillow."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
"""TIFFErrorHandler of tiffio.h: module, format and the format's arguments (va_list)."""
_LENGTH = 300
"""Bytes of a message that are kept."""


class _Reported(threading.local):
    """What is reported in each thread."""

    messages: list[str] | None = None


_REPORTED = _Reported()


@contextmanager
def libtiff_errors() -> Iterator[list[str]]:
    """The errors that libtiff reports in this thread inside the block, instead of printing them.

    Nothing is caught where the library that Pillow uses is not found. Of warnings Pillow lets
    libtiff report none.
    """
    _install()
    before, _REPORTED.messages = _REPORTED.messages, []
    try:
        yield _REPORTED.messages
    finally:
        _REPORTED.messages = before


@cache
def _install() -> Any:
    """Set our handler in the library that Pillow has loaded; it must live as long as that."""
    from PIL import Image  # noqa: F401 - loads libtiff

    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        path = next(line.split(maxsplit=5)[5] for line in lines if "/libtiff" in line)
        set_handler, form_text = ctypes.CDLL(path).TIFFSetErrorHandler, ctypes.CDLL(None).vsnprintf
    except (OSError, AttributeError, StopIteration):
        return None
    form_text.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]

    def on_error(_: bytes | None, form: bytes, arguments: int) -> None:
        if _REPORTED.messages is not None:
            buffer = ctypes.create_string_buffer(_LENGTH)
            form_text(buffer, _LENGTH, form, arguments)
            _REPORTED.messages.append(buffer.value.decode("utf-8", "replace"))

    handler = _Handler(on_error)
    set_handler.argtypes, set_handler.restype = [_Handler], ctypes.c_void_p
    set_handler(handler)
    return handler
