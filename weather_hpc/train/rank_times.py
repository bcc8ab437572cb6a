"""What one rank did in measured time: seconds of its own computation, of exchanges, of waiting.

Computation is measured time less waiting for data and time spent in exchanges, waiting for slower
ranks included. How it is known depends on how ranks communicate:

- a single process has no exchanges;
- CPUs of one host that share memory count their time in it;
- other CPUs exchange from threads of gloo, while the thread that computes is blocked: the kernel
  counts how long that thread ran or waited for a CPU, which is the rest;
- under NCCL exchanges overlap with computation on the GPU, and DataParallel drives several GPUs
  from one process: computation is not known.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from weather_hpc.train.strategies.base import TrainingStrategy


@dataclass(frozen=True)
class RankTimes:
    """Seconds of measured time of one rank; None: not known."""

    data_wait: float | None = 0.0
    """Its device had no batch to compute on."""
    communication: float | None = 0.0
    """In exchanges, waiting for slower ranks included."""
    computation: float | None = 0.0
    """It computed."""

    def __add__(self, other: Self) -> Self:
        """Both together; unknown where one is."""
        return type(self)(
            _sum(self.data_wait, other.data_wait),
            _sum(self.communication, other.communication),
            _sum(self.computation, other.computation),
        )


UNKNOWN = RankTimes(None, None, None)


def split(
    strategy: TrainingStrategy,
    measured_s: float,
    data_wait_s: float,
    communication_s: float | None,
    runnable_s: float | None,
) -> RankTimes:
    """``measured_s`` seconds of this rank by what it did in them.

    ``communication_s``: those that its strategy counted; ``runnable_s``: those in which its
    computing thread was not blocked (:func:`weather_hpc.runs.proc.runnable_s`).
    """
    if len(strategy.gpus) > 1:
        working_s = None
    elif strategy.env.world_size == 1:
        working_s = measured_s
    elif communication_s is not None:
        working_s = measured_s - communication_s
    else:
        working_s = None if strategy.gpus else runnable_s
    computation_s = None if working_s is None else max(0.0, working_s - data_wait_s)
    return RankTimes(data_wait_s, communication_s, computation_s)


@dataclass
class RankClock:
    """The times of this rank, those of the processes that it resumes included."""

    total: RankTimes = field(default_factory=RankTimes)
    epoch: RankTimes = field(default_factory=RankTimes)
    """Of the current epoch."""

    @classmethod
    def resumed(cls, state: Mapping[str, Mapping[str, Any]] | None) -> Self:
        """From :meth:`state` in a checkpoint; unknown where an older version wrote it."""
        if state is None:
            return cls(UNKNOWN, UNKNOWN)
        return cls(RankTimes(**state["total"]), RankTimes(**state["epoch"]))

    def begin_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch = RankTimes()

    def add(self, times: RankTimes) -> None:
        """Add ``times`` of the current epoch."""
        self.total += times
        self.epoch += times

    def state(self) -> dict[str, dict[str, float | None]]:
        """Plain values, for a checkpoint."""
        return asdict(self)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
