"""How much a verb says on stderr: everything, errors alone with ``-q``, details too with ``-v``."""

import os
import sys
import time
from typing import TextIO

_verbose = False
_hidden: TextIO | None = None
"""What stderr was before ``-q``; None: nothing is left out."""


def choose(*, quiet: bool = False, verbose: bool = False) -> None:
    """Set how much is said from now on, until :func:`restore`.

    Quiet, ``sys.stderr`` leads nowhere: no message has to know that it may be unwanted. Only
    errors are printed, on :func:`errors`.
    """
    global _verbose, _hidden
    restore()
    _verbose = verbose
    if quiet:
        _hidden, sys.stderr = sys.stderr, open(os.devnull, "w")  # noqa: PTH123, SIM115


def restore() -> None:
    """Say everything again but details."""
    global _verbose, _hidden
    _verbose = False
    if _hidden is not None:
        sys.stderr.close()
        sys.stderr, _hidden = _hidden, None


def errors() -> TextIO:
    """Where errors are printed, however quiet a verb is."""
    return sys.stderr if _hidden is None else _hidden


def detail(line: str) -> None:
    """Print ``line`` on stderr where ``-v`` asks for details."""
    if _verbose:
        print(line, file=sys.stderr, flush=True)


class Laps:
    """A watch: :meth:`done` prints with ``-v`` how long each step took."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def done(self, step: str) -> None:
        """The ``step`` since the last one has ended."""
        now = time.perf_counter()
        detail(f"{step}: {now - self._start:.2f} s")
        self._start = now
