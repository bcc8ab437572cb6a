"""A line per epoch on stderr: how far the run is, how well it learns, how long it will still take.

For a person who waits. What a program reads is in events.jsonl, ranks.csv and stdout.log.
"""

import sys
import time

from weather_hpc.train.evaluation import Score

MOST = 100
"""Epochs that all get a line; of more, those that come to the next hundredth of the run."""

SILENT_S = 60.0
"""After this time the next epoch has a line in any case."""


class EpochLines:
    """Prints the lines of a run of ``epochs`` epochs, of which ``done`` are complete."""

    def __init__(self, epochs: int, done: int) -> None:
        self.epochs, self.done = epochs, done
        self._start = self._printed = time.monotonic()

    def add(self, epoch: int, score: Score, test: Score | None, images: int, time_s: float) -> None:
        """``epoch`` is complete: its mean loss and accuracy; ``test``: where it was evaluated.

        ``time_s``: measured seconds of its ``images`` images.
        """
        now = time.monotonic()
        hundredth = epoch * MOST // self.epochs > (epoch - 1) * MOST // self.epochs
        if not (hundredth or epoch == self.done + 1 or now - self._printed >= SILENT_S):
            return
        self._printed = now
        # by the clock: evaluations and checkpoints take their time, too
        left_s = (now - self._start) / (epoch - self.done) * (self.epochs - epoch)
        print(line(epoch, self.epochs, score, test, images / time_s, left_s), file=sys.stderr,
              flush=True)  # fmt: skip


def line(
    epoch: int, epochs: int, score: Score, test: Score | None, images_per_s: float, left_s: float
) -> str:
    """``epoch  3/20  loss 1.5300  accuracy 0.520    1234 images/s  ETA 0:12  test 0.513``.

    At most 80 columns for runs of up to 99 epochs.
    """
    digits = 0 if images_per_s >= 100 else 1
    parts = [
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}",
        f"loss {score.loss:.4f}",
        f"accuracy {score.accuracy:.3f}",
        f"{images_per_s:>6.{digits}f} images/s",
        f"ETA {clock(left_s)}",
    ]
    if test is not None:
        parts.append(f"test {test.accuracy:.3f}")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """``0:12``, ``12:05`` or ``1:02:03``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
