"""What each rank is doing, and which of them keeps the others waiting.

The main thread only stores numbers in memory, at every step and phase. The watch of
:mod:`weather_hpc.train.failure` sends them to the other ranks every few seconds, and here it is
judged what came: times are the reader's own, so that no clocks are compared between hosts.
"""

import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from weather_hpc.train.exchange import RANK_TIMEOUT

_WAITING = (
    "torch.distributed",
    "torch.autograd.graph",  # a backward pass, which averages gradients
    "torch.cuda",
    "weather_hpc.train.strategies.distributed",
    "weather_hpc.train.exchange",
)
"""Modules whose functions wait for other ranks or for the device, or begin what does."""

_MOST_NAMED = 8


class Progress:
    """What this rank is doing; changed by its main thread, read by others."""

    def __init__(self) -> None:
        self.phase = "starting"
        self.phases = 0
        """Phases entered so far."""
        self.epoch = 0
        """The current epoch, from 1; 0 before the first."""
        self.step = 0
        """Steps done in this phase."""

    def enter(self, phase: str) -> None:
        """A phase begins."""
        self.phase = phase
        self.phases += 1
        self.step = 0


@dataclass(frozen=True)
class Sign:
    """A sign of life of one rank."""

    host: str
    beat: int
    """Its number; it stands still where the whole process does."""
    moved: tuple[int, int, int]
    """Phases, epoch and step: they stand still where the main thread does."""
    phase: str
    place: str
    """The line of code that the main thread is at."""
    waits: bool
    """Whether that waits for other ranks."""

    @classmethod
    def of(cls, progress: Progress, host: str, beat: int) -> "Sign":
        """This process's now."""
        place, waits = place_of(_frame())
        moved = progress.phases, progress.epoch, progress.step
        return cls(host, beat, moved, progress.phase, place, waits)

    @classmethod
    def before_any(cls, host: str) -> "Sign":
        """For a rank that has not given any yet."""
        return cls(host, 0, (0, 0, 0), "starting", "", waits=False)

    @property
    def text(self) -> str:
        """``in epoch 4 after step 12 (training), at loader.py:210 (read)``."""
        _, epoch, step = self.moved
        where = f"in epoch {epoch}" if epoch else "before the first epoch"
        where += f" after step {step}" if epoch and step else ""
        return f"{where} ({self.phase})" + (f", at {self.place}" if self.place else "")


def _frame() -> FrameType | None:
    return sys._current_frames().get(threading.main_thread().ident or 0)


def place_of(frame: FrameType | None) -> tuple[str, bool]:
    """The line that ``frame`` is at, as text, and whether it waits for other ranks."""
    if frame is None:
        return "", False
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", ""))
    waits = f"{module}.".startswith(tuple(f"{name}." for name in _WAITING))
    waits |= (module, code.co_name) == ("weather_hpc.train.loop", "score")  # reads from the device
    text = f"{Path(code.co_filename).name}:{frame.f_lineno} ({code.co_name})"
    caller = frame
    while caller.f_back and not str(caller.f_globals.get("__name__")).startswith("weather_hpc."):
        caller = caller.f_back
    if caller is not frame:
        text += f" called from {Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
    return text, waits


class Judge:
    """Decides from all ranks' signs whether they stand still, and because of whom."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.signs: dict[int, Sign] = {}
        """The last one of each rank."""
        self._moved_s: dict[int, float] = {}
        self._beat_s: dict[int, float] = {}

    def see(self, rank: int, sign: Sign, now_s: float) -> None:
        """Take note of the sign that ``rank`` shows at ``now_s``, which may be an old one."""
        before = self.signs.get(rank)
        if before is None or sign.moved != before.moved:
            self._moved_s[rank] = now_s
        if before is None or sign.beat != before.beat:
            self._beat_s[rank] = now_s
        self.signs[rank] = sign

    def silent(self, since_s: float) -> list[int]:
        """The ranks that have not given a new sign since then."""
        return [rank for rank, beat_s in self._beat_s.items() if beat_s <= since_s]

    def verdict(self, now_s: float) -> tuple[int, str] | None:
        """The rank that all wait for and why, once none has moved for the limit; else None.

        Where several stand still for no visible reason it names them all.
        """
        if not self.signs or now_s - max(self._moved_s.values()) <= self.limit_s:
            return None
        everyone = list(self.signs)
        silent = self.silent(now_s - self.limit_s / 2)
        busy = [rank for rank in everyone if not self.signs[rank].waits]
        at_fault = silent or busy or everyone
        texts = [self._text(rank, rank in silent, now_s) for rank in at_fault[:_MOST_NAMED]]
        if len(at_fault) > _MOST_NAMED:
            texts.append(f"and {len(at_fault) - _MOST_NAMED} more ranks")
        waiting = "" if len(at_fault) == len(everyone) else "; the others wait for it"
        return at_fault[0], f"{'; '.join(texts)}{waiting} ({RANK_TIMEOUT}={self.limit_s:g})"

    def _text(self, rank: int, silent: bool, now_s: float) -> str:
        sign = self.signs[rank]
        who = f"rank {rank} on {sign.host}"
        if silent:
            for_s = now_s - self._beat_s[rank]
            return (
                f"{who} has not answered for {for_s:.0f} s (stopped, killed, or its node is down): "
                f"last seen {sign.text}"
            )
        return f"{who} has not moved for {now_s - self._moved_s[rank]:.0f} s: {sign.text}"


def named(ranks: Iterable[int], signs: dict[int, Sign]) -> str:
    """``rank 1 on node3 (last seen in epoch 4 ...)`` for each of ``ranks``."""
    return ", ".join(f"rank {rank} on {signs[rank].host} (last seen {signs[rank].text})"
                     for rank in ranks)  # fmt: skip
