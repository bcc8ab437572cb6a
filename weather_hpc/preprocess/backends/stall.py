"""Workers that give no result: how long they are waited for, and what is known of them."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weather_hpc.errors import FailedError
from weather_hpc.runs.environment import seconds_from
from weather_hpc.runs.proc import activity, files_of
from weather_hpc.runs.provenance import node_name

WORKER_TIMEOUT = "WEATHER_HPC_WORKER_TIMEOUT_S"
"""The variable with the seconds that a run waits while none of its workers gives a result."""

WORKER_TIMEOUT_S = 1800.0
"""Its default: a task of Dask has up to 512 images, perhaps large, on a slow file system."""

POLL_S = 1.0
"""How often it is looked at, at most, how long that has been."""

MOST_NAMED = 8
LONGEST = 300
"""Characters by which a part is named."""


@dataclass(frozen=True)
class Owing:
    """A worker that is waited for."""

    rank: int
    host: str
    pid: int
    part: str = ""
    """What it was sent; empty where it has nothing to compute."""

    @property
    def text(self) -> str:
        """``worker 1 on node3 (pid 71, stopped) at chunk 5 (a/1.jpg to a/32.jpg), reading ...``."""
        here = self.host == node_name()
        state = activity(self.pid) if here else None
        text = f"worker {self.rank} on {self.host} (pid {self.pid}{f', {state}' if state else ''})"
        text += f" at {self.part}" if self.part else ""
        files = files_of(self.pid) - files_of(os.getpid()) if here else set()
        # Dask keeps a lock open in its folder
        shown = sorted(path for path in files if not path.endswith(".dirlock"))[:2]
        return text + (f", with {', '.join(shown)} open" if shown else "")


class Silence:
    """The time in which no result came; it counts only while this process runs itself.

    A job that is suspended for an hour as a whole, and then continued, has not stood still.
    """

    def __init__(self) -> None:
        """Raises UserError where the variable does not hold seconds."""
        self.limit_s = seconds_from(WORKER_TIMEOUT, WORKER_TIMEOUT_S)
        self.poll_s = min(POLL_S, self.limit_s / 4)
        self.end()

    def end(self) -> None:
        """A result has come, or there is none to wait for."""
        self._silent_s, self._last_s = 0.0, time.monotonic()

    def too_long(self) -> bool:
        """Whether the limit is exceeded; to be called about every :attr:`poll_s`."""
        now_s = time.monotonic()
        self._silent_s += min(now_s - self._last_s, 4 * self.poll_s)
        self._last_s = now_s
        return self._silent_s > self.limit_s

    def error(self, owing: Sequence[Owing], advice: str) -> FailedError:
        """Names the workers that still owe a result; ``advice``: what to do."""
        texts = [worker.text for worker in owing[:MOST_NAMED]]
        if len(owing) > MOST_NAMED:
            texts.append(f"and {len(owing) - MOST_NAMED} more")
        return FailedError(
            f"no result for {self._silent_s:.0f} s ({WORKER_TIMEOUT}={self.limit_s:g}) from "
            f"{'; '.join(texts) or 'any worker'}; {advice}"
        )


def part_text(parts: Iterable[object]) -> str:
    """``parts``, which a worker was sent together, in a few words."""
    first, *others = map(str, parts)
    text = first if len(first) <= LONGEST else f"{first[:LONGEST]}..."
    return f"{text} or one of {len(others)} more" if others else text
