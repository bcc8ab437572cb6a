"""A limit on how long a user's regular expressions may take."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from weather_hpc.errors import UserError


@contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """Raise UserError with ``message`` where the block takes longer than ``seconds``.

    By SIGALRM, which interrupts a regular expression too; without effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise UserError(message)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
