"""What a training run measures, and how its record reports that."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any, Self

import torch

from weather_hpc.dataset.store import Store
from weather_hpc.runs.clock import Clock, since_process_start
from weather_hpc.runs.proc import memory_peak_mb, runnable_s
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import Actual, Counts, Phases, RankInfo, RunRecord
from weather_hpc.runs.telemetry import Energy, Telemetry
from weather_hpc.study.tasks import TrainTask
from weather_hpc.train.cuda import peaks_mb
from weather_hpc.train.evaluation import Score
from weather_hpc.train.loader import DataWait, EpochSampler
from weather_hpc.train.progress import Progress
from weather_hpc.train.rank_times import RankClock, split
from weather_hpc.train.strategies.base import TrainingStrategy


class Phase(StrEnum):
    """What the seconds of a run are spent on. A checkpoint stores them by these names."""

    WARMUP = "warmup"
    TRAIN = "train"
    """Measured time: all epochs, data wait and communication included."""
    DATA_WAIT = "data_wait"
    COMMUNICATION = "communication"
    EVALUATION = "evaluation"
    CHECKPOINT = "checkpoint"
    TOTAL = "total"
    """Since the process started, and those of the processes that it resumes."""
    TRAIN_BEFORE_EPOCH = "epoch_train"
    """What ``train`` was when the current epoch began."""
    DATA_WAIT_BEFORE_EPOCH = "epoch_data_wait"
    """What ``data_wait`` was when the current epoch began."""


_DOING = {
    Phase.WARMUP: "warm-up",
    Phase.TRAIN: "training",
    Phase.EVALUATION: "evaluation",
    Phase.CHECKPOINT: "writing the checkpoint",
}


class Meter:
    """Seconds of each phase and joules of this rank, those of the processes it resumes included.

    ``earlier``: what :meth:`seconds_so_far` returned on rank 0 in the last of those; None in a new
    run. ``own``: the times of this rank until then. ``progress``: is told of each phase.
    """

    def __init__(
        self,
        strategy: TrainingStrategy,
        energy: Energy,
        earlier: Mapping[str, float] | None,
        own: RankClock | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._progress = progress or Progress()
        self.strategy = strategy
        self.energy = energy
        self.own = own or RankClock()
        self._clock = Clock(strategy.synchronise)
        if earlier is None:
            earlier = {Phase.TRAIN: 0.0, Phase.DATA_WAIT: 0.0, Phase.COMMUNICATION: 0.0}
        self._seconds = self._clock.seconds  # by phase
        self._seconds.update({Phase(name): seconds for name, seconds in earlier.items()})
        self._earlier_s = self._seconds.pop(Phase.TOTAL, 0.0)

    def seconds(self, phase: Phase) -> float:
        """Of ``phase`` so far; 0 where the run has not come to it."""
        return self.known_seconds(phase) or 0.0

    def known_seconds(self, phase: Phase) -> float | None:
        """Of ``phase`` so far; None where the run has not come to it or cannot measure it."""
        if phase is Phase.TOTAL:
            return self._earlier_s + since_process_start()
        return self._seconds.get(phase)

    def seconds_so_far(self) -> dict[str, float]:
        """Of all phases, by name: what a checkpoint stores."""
        seconds = self._seconds | {Phase.TOTAL: self.seconds(Phase.TOTAL)}
        return {str(phase): value for phase, value in seconds.items()}  # plain for torch.load

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Time the block from when all ranks enter it until all have left it. Collective."""
        self._progress.enter(_DOING[phase])
        self.strategy.barrier()
        with self._clock.phase(phase):
            yield
            self.strategy.barrier()
        self._progress.enter(f"after {_DOING[phase]}")

    @contextmanager
    def epoch(self, data_wait: DataWait, telemetry: Telemetry, *, resumed: bool) -> Iterator[None]:
        """Measure the block, an epoch; ``resumed``: what is left of one. Collective."""
        seconds = self._seconds
        if not resumed:
            seconds[Phase.TRAIN_BEFORE_EPOCH] = seconds[Phase.TRAIN]
            seconds[Phase.DATA_WAIT_BEFORE_EPOCH] = seconds[Phase.DATA_WAIT]
            self.energy.begin_epoch()
            self.own.begin_epoch()
        waited_s, energy_j = data_wait.seconds(), telemetry.energy_j()
        trained_s = seconds[Phase.TRAIN]
        with self.phase(Phase.TRAIN):
            before = self.strategy.communication_s, runnable_s()
            yield
        communicated_s = _since(before[0], self.strategy.communication_s)
        ran_s = _since(before[1], runnable_s())
        self._add_communication(communicated_s)
        now_j = telemetry.energy_j()
        used_j = None if energy_j is None or now_j is None else now_j - energy_j
        self.energy.add(self.strategy.gather(used_j))
        waited_s = data_wait.seconds() - waited_s
        seconds[Phase.DATA_WAIT] += waited_s
        trained_s = seconds[Phase.TRAIN] - trained_s
        self.own.add(split(self.strategy, trained_s, waited_s, communicated_s, ran_s))

    @property
    def epoch_s(self) -> float:
        """Measured seconds of the current epoch."""
        return self.seconds(Phase.TRAIN) - self.seconds(Phase.TRAIN_BEFORE_EPOCH)

    @property
    def epoch_data_wait_s(self) -> float:
        """Seconds of the current epoch in which the device had no data."""
        return self.seconds(Phase.DATA_WAIT) - self.seconds(Phase.DATA_WAIT_BEFORE_EPOCH)

    def _add_communication(self, spent_s: float | None) -> None:
        """Add what this rank has spent; unknown once it is unknown for any epoch."""
        so_far = self._seconds.pop(Phase.COMMUNICATION, None)
        if so_far is not None and spent_s is not None:
            self._seconds[Phase.COMMUNICATION] = so_far + spent_s

    def report(self, phases: Phases) -> None:
        """Fill in ``phases``, except for queue and startup.

        ``compute`` is the measured time less rank 0's waiting for data and, where that is known,
        for other ranks.
        """
        phases.warmup = self.seconds(Phase.WARMUP)
        phases.data_wait = self.seconds(Phase.DATA_WAIT)
        phases.communication = self.known_seconds(Phase.COMMUNICATION)
        phases.compute = self.seconds(Phase.TRAIN) - phases.data_wait
        phases.compute -= phases.communication or 0.0
        phases.checkpoint = self.known_seconds(Phase.CHECKPOINT)
        phases.evaluation = self.known_seconds(Phase.EVALUATION)
        phases.total = self.seconds(Phase.TOTAL)


def _since(before_s: float | None, now_s: float | None) -> float | None:
    return None if before_s is None or now_s is None else now_s - before_s


@dataclass(frozen=True)
class RankReport:
    """What one rank sends to rank 0 at the end."""

    info: RankInfo
    device_use_percent: float | None

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return {"info": self.info.model_dump(), "use": self.device_use_percent}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """From :meth:`values`."""
        return cls(RankInfo.model_validate(values["info"]), values["use"])


@dataclass(frozen=True)
class Results:
    """What a run has resulted in. ``ranks`` is empty on ranks other than 0."""

    task: TrainTask
    store: Store
    sampler: EpochSampler
    train: Score
    test: Score | None
    ranks: list[RankReport]


def device_uuids(strategy: TrainingStrategy) -> list[str]:
    """The GPUs, or instances of them, that this process computes on; none on the CPU."""
    return [str(torch.cuda.get_device_properties(gpu).uuid) for gpu in strategy.gpus]


def device_name(device: torch.device) -> str:
    """``cpu``, or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def report_of_rank(
    meter: Meter, sampler: EpochSampler, epochs: int, telemetry: Telemetry
) -> RankReport:
    """This process and what it handled in the measured time."""
    strategy, times = meter.strategy, meter.own.total
    device = strategy.device
    info = RankInfo(
        rank=strategy.env.rank,
        host=node_name(),
        pid=os.getpid(),
        device=str(device),
        device_name=device_name(device) if strategy.gpus else None,
        cpus=sorted(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        memory_peak_mb=memory_peak_mb(),
        device_memory_peak_mb=peaks_mb(strategy.gpus) or None,
        images=sampler.images * epochs,
        computation_s=times.computation,
        data_wait_s=times.data_wait,
        communication_s=times.communication,
    )
    return RankReport(info, telemetry.mean("device_use_percent"))


def report_results(record: RunRecord, results: Results, meter: Meter) -> None:
    """Fill in ``record``, except for what is known only while the run lasts."""
    sampler, task = results.sampler, results.task
    images = len(sampler.rows)
    record.time_s = meter.seconds(Phase.TRAIN)
    record.images_per_s = images * task.epochs / record.time_s
    record.usage.energy_j = meter.energy.total_j
    record.counts = Counts(
        images=images,
        epochs=task.epochs,
        steps=len(sampler.sizes) * task.epochs,
        test_images=results.test.images if results.test else None,
    )
    quality = record.quality
    quality.store_checksum = results.store.checksum
    quality.train_loss, quality.train_accuracy = results.train.loss, results.train.accuracy
    if results.test is not None:
        quality.test_loss, quality.test_accuracy = results.test.loss, results.test.accuracy
    _report_ranks(record, results)
    meter.report(record.phases)


def _report_ranks(record: RunRecord, results: Results) -> None:
    ranks = [report.info for report in results.ranks]
    if not ranks:
        return
    record.actual = Actual(
        nodes=len({rank.host for rank in ranks}),
        world_size=max(len(ranks), results.task.world_size),
        device=str(ranks[0].device).partition(":")[0],
        ranks=ranks,
    )
    peaks = [rank.memory_peak_mb for rank in ranks if rank.memory_peak_mb is not None]
    record.usage.host_memory_peak_mb = max(peaks, default=None)
    on_devices = [peak for rank in ranks for peak in rank.device_memory_peak_mb or []]
    record.usage.device_memory_peak_mb = max(on_devices, default=None)
    used = _all_known(report.device_use_percent for report in results.ranks)
    record.usage.device_use_percent = fmean(used) if used else None


def _all_known(values: Iterable[float | None]) -> list[float]:
    """``values`` where all are known, else none: the mean of some devices would mislead."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return known if len(known) == len(listed) else []
