"""Content that no writer of ours leaves in a file, and the verbs called within limits.

Set WEATHER_HPC_FUZZ to a number to try that many random contents of each kind instead of a few.
"""

import contextlib
import io
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hypothesis import settings

from weather_hpc import cli

EXAMPLES = int(os.environ.get("WEATHER_HPC_FUZZ", "5"))
TRIES = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)

HANGS_S = 120
"""No verb takes a tenth of this here: one that does waits for something."""

MOST_MEMORY = 2**30
"""Bytes that reading may add to the process."""

HUGE = 3 * 2**30
"""Bytes of a sparse file."""

Main = Callable[[Sequence[str] | None], int]


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail instead of waiting for ever, or of taking all memory of the machine."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still running after {HANGS_S} s")

    before, limits = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MEMORY, limits[1])
    )
    signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def called(verb: str, main: Main, argv: list[str]) -> tuple[int, str]:
    """The exit code of a verb, and what it prints on stderr. Checks what holds for any input."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as printed:
        with (
            bounded(),
            contextlib.redirect_stderr(printed),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            code = cli.guarded(verb, main, argv)
        printed.seek(0)
        text = printed.read()
    assert code in (0, 1, 2), text
    assert "Traceback" not in text
    lines = text.splitlines()
    assert all(line.isprintable() and len(line) < 5000 for line in lines), text[:9000]
    if code == 2:
        assert lines[-1].startswith(f"{verb}: "), text
    return code, text


ODD_TEXT = (
    b"", b"\0" * 9, b"null", b"1", b'"x"', b"[]", b"{}", b"NaN", b"1e999", b"9" * 6000, b"[[1, 2]]",
    b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"\\ud800": 1}',
    b"\x1b[31mred\n" * 3, b"x" * 2**21, b"a,b\n" * 30_000, b'"' + b"x,\n" * 50_000, b"- [\n&a *a",
)  # fmt: skip
"""Content that no writer of ours leaves."""

NO_FILES = ("folder", "pipe", "huge", "loop", "nowhere", "device")
"""What :func:`replace_file` puts there."""


def replace_file(path: Path, kind: str) -> None:
    """Put something at ``path`` that is not a file, or far too large."""
    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "inside").write_text("x")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(HUGE)
    else:
        path.symlink_to({"loop": path.name, "nowhere": "nowhere", "device": "/dev/zero"}[kind])
