"""Whole optimizer steps as CUDA graphs: whatever a step consists of, the host launches it at once.

A graph reads and writes the same memory whenever it is replayed. So what changes from step to step
(images, their random numbers, the learning rate) lies on the device for a whole epoch at a time,
with a counter of steps that every replay moves on. Nothing waits for the device between two steps.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weather_hpc.runs.gpus import BYTES_PER_MB
from weather_hpc.train.checkpoint import StateDict
from weather_hpc.train.cuda import free_bytes, working_bytes
from weather_hpc.train.failure import out_of_memory
from weather_hpc.train.loader import moved

if TYPE_CHECKING:
    from weather_hpc.train.loop import Trainer

Replay = Callable[[], torch.Tensor]

REHEARSALS = 3
"""Runs of a step before it is recorded, in which libraries take their memory and choose kernels."""


class StepGraphs:
    """The steps of ``trainer``, whose training images lie on the device, as graphs.

    There is one for each number of images that a step has. They hold the addresses of weights and
    of the optimizer's state, which from then on may be changed in place only.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.trainer = trainer
        device = trainer.strategy.device
        images, steps = len(trainer.sampler.rows), len(trainer.sampler.sizes)
        rates = [trainer.rate_at(number) for number in range(steps * trainer.task.epochs)]
        self._rates = torch.tensor(rates, dtype=torch.float32, device=device)
        self._rate = torch.zeros((), device=device)
        for group in trainer.optimizer.param_groups:
            group["lr"] = self._rate
        self._places = torch.zeros(images, dtype=torch.int64, device=device)
        self._labels = torch.zeros(images, dtype=torch.int64, device=device)
        self._numbers = torch.zeros(images, 6, device=device)
        self._range = torch.arange(images, device=device)
        self._begun = torch.zeros(1, dtype=torch.int64, device=device)
        """Images of the epoch that earlier steps have taken."""
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        """The step's number in the run, from 0."""
        self._replays = self._record_all()

    def begin(self, epoch: int, done: int = 0) -> None:
        """Send what the steps of ``epoch`` need, to go on after the first ``done`` of them."""
        trainer, device = self.trainer, self.trainer.strategy.device
        sizes = trainer.sampler.sizes
        rows = np.concatenate([step.rows for step in trainer.sampler.epoch(epoch)])
        self._places.copy_(moved(trainer.images.places(rows), device))
        self._labels.copy_(trainer.labels[moved(rows, device)])
        draw = trainer.draw(epoch)
        if draw is not None:
            self._numbers.copy_(moved(draw.numbers[rows], device))
        self._begun.fill_(sum(sizes[:done]))
        self._number.fill_((epoch - 1) * len(sizes) + done)

    def step(self, images: int) -> torch.Tensor:
        """The next step, of ``images`` images; its tally, until the next step overwrites it."""
        return self._replays[images]()

    def _record_all(self) -> dict[int, Replay]:
        """A graph for each size of step.

        One is replayed at a time and none needs what another has left, so all share the memory of
        the largest, which is recorded first.
        """
        trainer = self.trainer
        before = trainer.snapshot()
        trainer.strategy.network.train()
        pool = torch.cuda.graph_pool_handle()
        replays = {
            images: self._record(images, pool)
            for images in sorted(set(trainer.sampler.sizes), reverse=True)
        }
        put_back(trainer, before)
        return replays

    def _record(self, images: int, pool: Any) -> Replay:
        """A step of ``images`` as a graph, after rehearsals, which do change the weights."""
        trainer, device = self.trainer, self.trainer.strategy.device
        # what is freed on one stream is not given to another: here no memory is for two of them
        torch.cuda.empty_cache()
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(REHEARSALS):
                self.begin(1)  # an epoch may have fewer steps than there are rehearsals
                self._step(images)
            self.begin(1)
        torch.cuda.current_stream(device).wait_stream(stream)
        # gradients not there yet are written by a replay, those that are would be added to
        trainer.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        needed, free = working_bytes(device), free_bytes(device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                part = self._step(images)
        except RuntimeError as error:
            # want of memory may end the capture first, whose error then says nothing of it
            if needed <= free or out_of_memory(error):
                raise
            raise torch.OutOfMemoryError(
                f"a graph of a step of {images} images needs {needed / BYTES_PER_MB:.0f} MB of GPU "
                f"memory; {free / BYTES_PER_MB:.0f} MB are free"
            ) from error

        def replay() -> torch.Tensor:
            graph.replay()
            return part

        return replay

    def _step(self, images: int) -> torch.Tensor:
        """What a graph is made of: kernels alone, no number that the host knows or asks for."""
        trainer = self.trainer
        own = self._begun + self._range[:images]
        numbers = self._numbers[own] if trainer.augments else None
        self._rate.copy_(self._rates[self._number][0])
        pixels = trainer.images.at(self._places[own])
        part = trainer.learn(pixels, self._labels[own], numbers, images)
        if trainer.average:
            trainer.average.update(self._number[0])
        self._begun += images
        self._number += 1
        return part


def possible(device: torch.device) -> bool:
    """Whether ``device`` has graphs at all."""
    return device.type == "cuda"


def put_back(trainer: "Trainer", before: StateDict) -> None:
    """Go back to a snapshot of ``trainer``, with every tensor where it is.

    Of the optimizer's state, what the snapshot does not have yet becomes 0, as it begins.
    """
    optimizer = trainer.optimizer
    saved = before["optimizer"]["state"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    with torch.no_grad():
        for index, parameter in enumerate(parameters):
            for name, value in optimizer.state[parameter].items():
                old = saved.get(index, {}).get(name)
                value.zero_() if old is None else value.copy_(old)
    optimizer.zero_grad(set_to_none=True)
    trainer.put_back_weights(before)
