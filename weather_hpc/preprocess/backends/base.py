"""What the stage that times them asks of every backend."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from weather_hpc.dataset.partial import KEPT
from weather_hpc.errors import FailedError
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target
from weather_hpc.runs.record import RankInfo
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import Decoder

START_TIMEOUT_S = 120.0
"""How long all workers together may take to stand."""


@dataclass(frozen=True)
class Context:
    """What a backend whose workers are elsewhere knows of the run."""

    site: SiteProfile
    folder: Path
    """The store's folder, which all nodes see."""
    writer: RunWriter


class Backend(Protocol):
    """A pool of workers: started, used once, closed."""

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """Bring up ``workers`` workers, each with ``decoder`` imported; who they are.

        Raises FailedError where one dies or not all stand after :data:`START_TIMEOUT_S`.
        """

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks`` in any order, yielding each as it is finished.

        Raises FailedError where a worker is lost; never waits for one that is gone.
        """

    def close(self) -> None:
        """End all workers, also after an error; may be called at any time."""


def worker_lost(cause: str) -> FailedError:
    """The one message for a worker that went away in the middle of its work."""
    return FailedError(f"a worker process was lost ({cause}); {KEPT}")


def not_all_came(came: int, workers: int) -> FailedError:
    """The one message for workers that did not come up."""
    return FailedError(
        f"{came} of {workers} workers came up; the others died or took over {START_TIMEOUT_S:.0f} s"
    )
