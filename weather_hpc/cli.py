"""Common to all verbs: exit codes, one-line errors, the JSON line, progress bars.

Without heavy imports, so that ``--help`` is fast.
"""

import errno
import importlib.util
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, Protocol, TextIO

from weather_hpc import verbosity
from weather_hpc.errors import FailedError, UserError
from weather_hpc.parser import Parser as Parser
from weather_hpc.parser import command as command
from weather_hpc.parser import speaker, spoken
from weather_hpc.text import one_line, shortened

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
EXIT_STOPPED = 75
"""Stopped on request after writing a checkpoint; can be resumed (EX_TEMPFAIL)."""

SAME_AGAIN = "run the same command again to resume"
"""Advice of the verbs of which that is true."""

_STDOUT = "standard output"

_ABOUT_FILES = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ESTALE, errno.EIO,
}  # fmt: skip
"""Errors of file systems, where no file is named."""

_WRONG_PATH = {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Those that say that a path cannot be right."""


Main = Callable[[Sequence[str] | None], int]


class Signalled(KeyboardInterrupt):
    """TERM, or HUP of a terminal that closes, asks this process to end: as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


def how_ended(error: BaseException) -> str:
    """``ended by SIGTERM``, ``interrupted (SIGINT)``, or what else ended this process."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) if isinstance(error, Signalled) else "interrupted (SIGINT)"
    return f"ended by an error: {type(error).__name__}: {' '.join(str(error).split())}"


def exit_code_of(error: KeyboardInterrupt) -> int:
    """As a shell gives it for the signal that ended a program: 130 on Ctrl-C."""
    return 128 + (error.number if isinstance(error, Signalled) else signal.SIGINT)


def raise_on_signals() -> None:
    """Raise :class:`Signalled` on TERM and HUP, once: what follows must not be cut short.

    Signals that this process was started to ignore (``nohup``) stay ignored.
    """

    def stop(number: int, _: object) -> NoReturn:
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGHUP:  # a terminal that is gone cannot be written to
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                if stat.S_ISCHR(os.fstat(stream).st_mode):
                    os.dup2(nowhere, stream)
        raise Signalled(number)

    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


@contextmanager
def advice(text: str | Callable[[], str] = SAME_AGAIN) -> Iterator[None]:
    """Where Ctrl-C, TERM or HUP ends the block, the verb's last line ends with ``text``.

    Without it that line gives no advice: most verbs have nothing to go on from.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(text if isinstance(text, str) else text())
        raise


def own_umask() -> None:
    """Let others write to nothing that this process makes, and leave to the umask what they read.

    Who can write to a results folder can replace scripts that its owner runs.
    """
    os.umask(os.umask(0o022) | 0o022)


def run(verb: str, main: Main, argv: Sequence[str] | None = None) -> NoReturn:
    """Run a verb's ``main`` and exit with its code; a UserError or FailedError prints one line."""
    raise_on_signals()
    own_umask()
    raise SystemExit(guarded(verb, main, argv))


def guarded(verb: str, main: Main, argv: Sequence[str] | None = None) -> int:
    """Run ``main``: its exit code, or 2 on a UserError, 1 on a FailedError.

    128 plus the signal's number where a signal ends it: 130 on Ctrl-C, 143 on TERM, 129 on HUP.
    Where a file cannot be read or written, for example on a full disk, the line names it: 1, or 2
    where its path cannot be right.
    """
    verb, laps = speaker(verb), verbosity.Laps()
    try:
        code = main(argv)
        with _to_stdout():
            sys.stdout.flush()
        laps.done(f"{verb}, everything")
        return code
    except UserError as error:
        return _say("\n".join(f"{verb}: {shortened(line)}" for line in error.lines), EXIT_USAGE)
    except FailedError as error:
        return _say(f"{verb}: {one_line(error)}", EXIT_FAILED)
    except KeyboardInterrupt as error:
        how = str(error) if isinstance(error, Signalled) else "interrupted"
        line = "; ".join([f"{verb}: {how}", *getattr(error, "__notes__", [])])
        return _say(line, exit_code_of(error))
    except BrokenPipeError:
        # The reader closed the pipe (`| head`): not an error, but nothing more can be printed.
        _silence(sys.stdout)
        return EXIT_OK
    except OSError as error:
        what = file_error(error)
        if what is None:
            raise
        code = EXIT_USAGE if error.errno in _WRONG_PATH else EXIT_FAILED
        return _say(f"{verb}: {one_line(FailedError(what))}", code)
    finally:
        verbosity.restore()


def file_error(error: OSError) -> str | None:
    """The file and what the system says of it; None where ``error`` is about no file.

    A file that was being written has no name in ``error`` unless the writer has added it.
    """
    if error.strerror is None:
        return None
    if error.filename is not None:
        return f"{_text(error.filename)}: {error.strerror}"
    if error.errno not in _ABOUT_FILES:
        return None
    return f"{_STDOUT} or a file without a name: {error.strerror}"


@contextmanager
def _to_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = _STDOUT
        raise


def _text(name: object) -> str:
    """A file's name as OSError has it: text, bytes, or the number of an open file."""
    return f"open file {name}" if isinstance(name, int) else os.fsdecode(name)  # type: ignore[arg-type]


def _say(lines: str, code: int) -> int:
    """Print ``lines`` on stderr; returns ``code``. Both streams may be files on a full disk."""
    for stream, text in ((sys.stdout, ""), (verbosity.errors(), f"{spoken(lines)}\n")):
        try:
            print(text, end="", file=stream, flush=True)
        except OSError:
            _silence(stream)
    return code


def _silence(stream: TextIO) -> None:
    """Send what is still to be printed nowhere: Python would fail again at exit."""
    with suppress(OSError, ValueError):  # no file, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def words(as_json: bool) -> TextIO:
    """Where a result in words goes: stdout, which with ``--json`` holds a JSON object alone."""
    return sys.stderr if as_json else sys.stdout


def print_json(value: dict[str, Any]) -> None:
    """Print ``value`` as the one JSON object that ``--json`` promises."""
    with _to_stdout():
        print(json.dumps(value, allow_nan=False), flush=True)


class Advance(Protocol):
    """Call it to advance a progress bar."""

    def __call__(self, count: int = 1, text: str | None = None) -> None:
        """Count ``count`` more items done; ``text`` replaces the bar's description."""


@contextmanager
def progress(text: str, total: int) -> Iterator[Advance]:
    """A progress bar on stderr; silent when stderr is not a terminal, or rich is not installed."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda count=1, text=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # rich would take what is printed on stdout meanwhile to the terminal, also from a file
    console, both = Console(stderr=True), sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=both) as bar:
        task = bar.add_task(text, total=total)

        def advance(count: int = 1, text: str | None = None) -> None:
            bar.update(task, advance=count, description=text)

        yield advance
