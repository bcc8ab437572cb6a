"""TODO."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch

from weather_hpc.dataset.store import Store
from weather_hpc.runs.proc import memory_peak_mb
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import Actual, Counts, RankInfo, RunRecord
from weather_hpc.runs.telemetry import Telemetry
from weather_hpc.study.spec import TrainTask
from weather_hpc.train.cuda import peaks_mb
from weather_hpc.train.evaluation import Score
from weather_hpc.train.loader import EpochSampler
from weather_hpc.train.strategies.base import Strategy


@dataclass(frozen=True)
class Reported:
    """What one rank tells rank 0 at the end."""

    info: RankInfo
    device_use_percent: float | None


@dataclass(frozen=True)
class Outcome:
    """What a run has come to. ``ranks`` is empty on ranks other than 0."""

    task: TrainTask
    store: Store
    sampler: EpochSampler
    seconds: Mapping[str, float]
    energy_j: float | None
    train: Score
    test: Score | None
    ranks: list[Reported]


def device_uuids(strategy: Strategy) -> list[str]:
    """The GPUs, or instances of them, that this process computes on; none on the CPU."""
    return [str(torch.cuda.get_device_properties(gpu).uuid) for gpu in strategy.gpus]


def device_name(device: torch.device) -> str:
    """``cpu``, or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def this_rank(
    strategy: Strategy, sampler: EpochSampler, epochs: int, telemetry: Telemetry
) -> Reported:
    """This process and what it handled in the measured time."""
    device = strategy.device
    info = RankInfo(
        rank=strategy.world.rank,
        host=node_name(),
        pid=os.getpid(),
        device=str(device),
        device_name=device_name(device) if strategy.gpus else None,
        cpus=sorted(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        memory_peak_mb=memory_peak_mb(),
        device_memory_peak_mb=peaks_mb(strategy.gpus) or None,
        images=sampler.images * epochs,
    )
    return Reported(info, telemetry.mean("device_use_percent"))


def describe(record: RunRecord, outcome: Outcome) -> None:
    """Fill ``record`` in, but for what is known only while the run goes on.

    ``phases.compute`` is the measured time less rank 0's waiting for data and, where that is told
    apart, for other ranks.
    """
    seconds, sampler, task = outcome.seconds, outcome.sampler, outcome.task
    images = len(sampler.rows)
    record.time_s = seconds["train"]
    record.images_per_s = images * task.epochs / record.time_s
    phases = record.phases
    phases.warmup = seconds["warmup"]
    phases.data_wait = seconds["data_wait"]
    phases.communication = seconds.get("communication")
    phases.compute = seconds["train"] - seconds["data_wait"] - (phases.communication or 0.0)
    phases.checkpoint = seconds.get("checkpoint")
    phases.evaluation = seconds.get("evaluation")
    record.counts = Counts(
        images=images,
        epochs=task.epochs,
        steps=len(sampler.sizes) * task.epochs,
        test_images=outcome.test.images if outcome.test else None,
    )
    quality = record.quality
    quality.train_loss, quality.train_accuracy = outcome.train.loss, outcome.train.accuracy
    if outcome.test is not None:
        quality.test_loss, quality.test_accuracy = outcome.test.loss, outcome.test.accuracy
    record.usage.energy_j = outcome.energy_j
    quality.store_checksum = outcome.store.checksum
    _describe_ranks(record, outcome)


def _describe_ranks(record: RunRecord, outcome: Outcome) -> None:
    ranks = [reported.info for reported in outcome.ranks]
    if not ranks:
        return
    record.actual = Actual(
        nodes=len({rank.host for rank in ranks}),
        world_size=max(len(ranks), outcome.task.world_size),
        device=str(ranks[0].device).partition(":")[0],
        ranks=ranks,
    )
    peaks = [rank.memory_peak_mb for rank in ranks if rank.memory_peak_mb is not None]
    record.usage.host_memory_peak_mb = max(peaks, default=None)
    on_devices = [peak for rank in ranks for peak in rank.device_memory_peak_mb or []]
    record.usage.device_memory_peak_mb = max(on_devices, default=None)
    used = _known(r.device_use_percent for r in outcome.ranks)
    record.usage.device_use_percent = fmean(used) if used else None


def _known(values: Iterable[float | None]) -> list[float]:
    """``values`` where all are known, else none: a part of the devices would look cheap."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []
