"""Whole optimizer steps as CUDA graphs: the host launches all kernels of a step in one call.

A graph reads and writes the same memory whenever it is replayed. So what changes from step to step
(images, their random numbers, the learning rate) is on the device for a whole epoch at a time, with
a step counter that every replay increments. Nothing waits for the device between two steps.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weather_hpc.runs.gpus import BYTES_PER_MB
from weather_hpc.train.checkpoint import StateDict
from weather_hpc.train.cuda import free_bytes, working_bytes
from weather_hpc.train.failure import out_of_memory
from weather_hpc.train.loader import to_device

if TYPE_CHECKING:
    from weather_hpc.train.loop import Trainer

Replay = Callable[[], torch.Tensor]

REHEARSALS = 3
"""Runs of a step before its capture, in which libraries allocate memory and choose kernels."""


class StepGraphs:
    """The steps of ``trainer``, whose training images are cached on the device, as graphs.

    One for each step size. They hold the addresses of weights and of the optimizer's state, which
    from then on may only be changed in place.
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
        self._indices = torch.zeros(images, dtype=torch.int64, device=device)
        self._labels = torch.zeros(images, dtype=torch.int64, device=device)
        self._numbers = torch.zeros(images, 6, device=device)
        self._range = torch.arange(images, device=device)
        self._begun = torch.zeros(1, dtype=torch.int64, device=device)
        """Images of the epoch that earlier steps have used."""
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        """The step's number in the run, from 0."""
        self._replays = self._capture_all()

    def begin(self, epoch: int, done: int = 0) -> None:
        """Send what the steps of ``epoch`` after the first ``done`` need."""
        trainer, device = self.trainer, self.trainer.strategy.device
        sizes = trainer.sampler.sizes
        rows = np.concatenate([step.rows for step in trainer.sampler.epoch(epoch)])
        self._indices.copy_(to_device(trainer.images.indices(rows), device))
        self._labels.copy_(trainer.labels[to_device(rows, device)])
        numbers = trainer.random_numbers(epoch)
        if numbers is not None:
            self._numbers.copy_(to_device(numbers[rows], device))
        self._begun.fill_(sum(sizes[:done]))
        self._number.fill_((epoch - 1) * len(sizes) + done)

    def step(self, images: int) -> torch.Tensor:
        """Run the next step, of ``images`` images; its tally, which the next step overwrites."""
        return self._replays[images]()

    def _capture_all(self) -> dict[int, Replay]:
        """A graph for each step size.

        They are replayed one at a time and need nothing from each other, so all share the memory
        of the largest, which is captured first.
        """
        trainer = self.trainer
        before = trainer.snapshot()
        trainer.strategy.network.train()
        pool = torch.cuda.graph_pool_handle()
        replays = {
            images: self._capture(images, pool)
            for images in sorted(set(trainer.sampler.sizes), reverse=True)
        }
        restore_in_place(trainer, before)
        return replays

    def _capture(self, images: int, pool: Any) -> Replay:
        """A step of ``images`` as a graph, after rehearsals, which change the weights."""
        trainer, device = self.trainer, self.trainer.strategy.device
        # memory freed on one stream is not given to another one: free it before the switch
        torch.cuda.empty_cache()
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(REHEARSALS):
                self.begin(1)  # an epoch may have fewer steps than there are rehearsals
                self._step(images)
            self.begin(1)
        torch.cuda.current_stream(device).wait_stream(stream)
        # a replay writes gradients that are not there yet, and would add to those that are
        trainer.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        needed, free = working_bytes(device), free_bytes(device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                part = self._step(images)
        except RuntimeError as error:
            # out of memory may end the capture first, whose error then does not mention it
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
        """What a graph is made of: kernels only, without values from or for the host."""
        trainer = self.trainer
        own = self._begun + self._range[:images]
        numbers = self._numbers[own] if trainer.augments else None
        self._rate.copy_(self._rates[self._number][0])
        pixels = trainer.images.select(self._indices[own])
        part = trainer.optimizer_step(pixels, self._labels[own], numbers, images)
        if trainer.average:
            trainer.average.update(self._number[0])
        self._begun += images
        self._number += 1
        return part


def restore_in_place(trainer: "Trainer", before: StateDict) -> None:
    """Restore a snapshot of ``trainer`` without moving any tensor.

    State of the optimizer that the snapshot does not have becomes 0, its initial value.
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
    trainer.restore_weights(before)
