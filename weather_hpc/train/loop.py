"""The training loop. It is the same for every strategy and knows none of them."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from weather_hpc.dataset.store import Store
from weather_hpc.models.fused import FusedNetwork, Moments
from weather_hpc.study.recipe import RECIPES, Augmentation
from weather_hpc.study.spec import TrainTask
from weather_hpc.train import graphs
from weather_hpc.train.augmentation import Draw, augment
from weather_hpc.train.checkpoint import StateDict, on_cpu
from weather_hpc.train.cuda import working_bytes
from weather_hpc.train.evaluation import Named, Score
from weather_hpc.train.graphs import StepGraphs
from weather_hpc.train.loader import (
    DataWait,
    EpochSampler,
    Images,
    Rows,
    Source,
    Step,
    moved,
    network_input,
)
from weather_hpc.train.optimizer import Average, make_optimizer
from weather_hpc.train.stop import StopSign
from weather_hpc.train.strategies.base import Strategy, tally


class DivergedError(Exception):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Position:
    """How far an epoch has come on this rank."""

    steps: int
    total: torch.Tensor
    """This rank's :func:`tally` so far, on the device."""


class Trainer:
    """A placed network, its optimizer and its data. All ranks call the same methods in order."""

    def __init__(
        self, strategy: Strategy, store: Store, sampler: EpochSampler, task: TrainTask
    ) -> None:
        self.strategy = strategy
        self.store = store
        self.sampler = sampler
        self.task = task
        self.recipe = recipe = RECIPES[task.recipe]
        self.labels = torch.from_numpy(store.labels).to(strategy.device)
        self.images = Images(store, strategy.device)
        self.replays = task.execution.replays and graphs.possible(strategy.device)
        """Whether steps are to be CUDA graphs."""
        self.optimizer = make_optimizer(strategy.network, recipe, on_device=self.replays)
        self.average = Average(strategy.network, recipe.averaging) if recipe.averaging else None
        network = strategy.network
        self.fused = network if isinstance(network, FusedNetwork) else None
        """The network, where it is given images as they are stored."""
        self.moments_shared = False
        """Whether :meth:`_share_moments` has done it."""
        self.augments = recipe.augmentation != Augmentation()
        """Whether images are changed at random, anew in every epoch."""
        self.graphs: StepGraphs | None = None
        """The steps as CUDA graphs, where :meth:`record_steps` has made them."""
        self.data_wait = DataWait(strategy.device)
        """For this rank's batches, warm-up and evaluation included."""

    def train_epoch(
        self,
        epoch: int,
        advance: Callable[[], object],
        stop: StopSign,
        begun: Position | None = None,
    ) -> Position:
        """Every training image once, or those up to the step at which ``stop`` was seen.

        ``begun`` is where an earlier process stopped in this epoch. Nothing is read from the
        device meanwhile. Returns how far the epoch has come.
        """
        self.strategy.network.train()
        steps = self.sampler.epoch(epoch)
        draw = self.draw(epoch)
        done = begun.steps if begun else 0
        if self.graphs:
            with self.data_wait.idle():
                self.graphs.begin(epoch, done)
        total = torch.zeros(2, dtype=torch.float64, device=self.strategy.device)
        if begun:
            total += begun.total.to(self.strategy.device)
        for step in steps[done:]:
            if self.fused and not self.augments:
                self.fused.set_rows(step.rows)
            if self.graphs:
                total += self.graphs.step(len(step.rows))
            else:
                total += self._step(step, draw, (epoch - 1) * len(steps) + done)
            done += 1
            advance()
            if done < len(steps) and stop.seen(done):
                break
        if begun is None and done == len(steps) and epoch < self.task.epochs:
            self._share_moments()
        return Position(done, total)

    def score(self, total: torch.Tensor, images: int, epoch: int) -> Score:
        """The ranks' tallies as one score of ``images``. Raises DivergedError for a NaN loss."""
        loss_sum, right = self.strategy.sum(total).tolist()
        if not math.isfinite(loss_sum):
            what = "NaN" if math.isnan(loss_sum) else "infinite"
            raise DivergedError(f"loss is {what} at epoch {epoch}")
        return Score(loss_sum / images, right / images, images)

    def warm_up(self, steps: int) -> None:
        """Train ``steps`` steps and undo them: memory, caches and buckets stand, weights don't.

        More than ``steps`` where there are more sizes of steps: what is compiled or chosen for a
        size is so at its first step, which none is to be in measured time. 0: no step at all.
        """
        if not steps:
            return
        before = self.snapshot()
        self.strategy.network.train()
        draw = self.draw(0)
        # the largest first: the others then fit into the memory that it took
        of_each_size = {step.images: step for step in self.sampler.epoch(0)}
        planned = sorted(of_each_size.values(), key=lambda step: step.images, reverse=True)
        for number in range(max(steps, len(planned))):
            self._step(planned[number % len(planned)], draw, number)
        self.optimizer.zero_grad(set_to_none=True)
        self.restore(before)

    def settle_input(self) -> Source | None:
        """Keep the training images on the device where they fit beside what a step needs.

        To be called after warm-up. Where they are read from, then; None on a rank that reads none.
        """
        if not self.strategy.reads_images:
            return None
        needed = 0
        if self.replays:
            # graphs use no memory that steps outside of them have taken: they need as much again
            needed = working_bytes(self.strategy.device)
            torch.cuda.empty_cache()
        if self.images.fit(self.sampler.rows, needed):
            self.images.keep(self.sampler.rows)
        return self.images.source

    def record_steps(self) -> bool:
        """Make the steps CUDA graphs, where that is asked for and images are on the device.

        Whether it was done. From then on weights and optimizer are changed in place only.
        """
        if self.replays and self.images.source is Source.RESIDENT:
            self.graphs = StepGraphs(self)
        return self.graphs is not None

    @torch.no_grad()
    def evaluate(self, rows: Rows, batch_size: int) -> tuple[torch.Tensor, list[Named]]:
        """This rank's tally over its share of ``rows``, none twice and none left out.

        Beside it what each image was named, on the rank that has the network's outputs. Where
        the recipe averages the weights, it is their average that is evaluated.
        """
        with self.average.in_place() if self.average else nullcontext():
            return self._evaluate(rows, batch_size)

    def _evaluate(self, rows: Rows, batch_size: int) -> tuple[torch.Tensor, list[Named]]:
        self.strategy.before_evaluation()
        self.strategy.network.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.strategy.device)
        named = []
        own = self.strategy.shard.of(rows)
        for batch in np.split(own, range(batch_size, len(own), batch_size)):
            if not len(batch):
                continue
            images, labels = self._load(batch)
            logits = self.strategy.predict(self._input(images))
            if logits is not None:
                total += tally(cross_entropy(logits, labels, reduction="sum"), logits, labels)
                named.append(Named(batch, logits.float().softmax(dim=1).cpu().numpy()))
        return total, named

    def snapshot(self) -> StateDict:
        """This rank's weights, optimizer and random states, as copies on the CPU."""
        random = {
            "cpu": torch.get_rng_state(),
            "cuda": [torch.cuda.get_rng_state(gpu) for gpu in self.strategy.gpus],
        }
        network, optimizer = self.strategy.network.state_dict(), self.optimizer.state_dict()
        return {
            "network": on_cpu(dict(network)),
            "average": on_cpu(self.average.state) if self.average else {},
            "optimizer": on_cpu(optimizer),
            "random": random,
        }

    def restore(self, state: StateDict) -> None:
        """Go back to a :meth:`snapshot`; its weights may be more than this rank's part.

        It may be another device's: how the optimizer works stays as it is here.
        """
        saved, here = state["optimizer"], self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": saved["state"], "param_groups": here})
        self.put_back_weights(state)

    def put_back_weights(self, state: StateDict) -> None:
        """Of a :meth:`snapshot`, weights, their average and random states, all in place."""
        own = self.strategy.network.state_dict()
        self.strategy.network.load_state_dict({name: state["network"][name] for name in own})
        if self.average:
            self.average.restore(state["average"])
        torch.set_rng_state(state["random"]["cpu"])
        for gpu, generator in zip(self.strategy.gpus, state["random"]["cuda"], strict=False):
            torch.cuda.set_rng_state(generator, gpu)

    def rate_at(self, number: int) -> float:
        """The learning rate of the ``number``-th step of the run, from 0."""
        steps = len(self.sampler.sizes) * self.task.epochs
        return self.recipe.learning_rate_at(number, steps, self.task.learning_rate)

    def learn(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        numbers: torch.Tensor | None,
        step_images: int,
    ) -> torch.Tensor:
        """One optimizer step, all of it on the device; this rank's :func:`tally`.

        ``images`` are as stored, ``numbers`` those that change them at random; ``step_images``
        counts the images of all ranks.
        """
        if numbers is not None:
            images = augment(images, numbers, self.recipe.augmentation)
        self.optimizer.zero_grad(set_to_none=True)
        part = self.strategy.train_step(self._input(images), labels, step_images)
        self.optimizer.step()
        return part

    def draw(self, epoch: int) -> Draw | None:
        """The random numbers by which the images of ``epoch`` are changed, if they are."""
        if not self.augments:
            return None
        return Draw.of(len(self.store.labels), self.task.seed, epoch)

    def _share_moments(self) -> None:
        """Let no rank compute what another has computed of an image's pixels. Collective.

        Once, after an epoch from its beginning: then all ranks together have seen all images.
        """
        if self.strategy.shard.count == 1 or self.augments or self.strategy.device.type != "cpu":
            return
        if not self.moments_shared:
            # on other nodes the layers may be fused
            moments = self.fused.moments if self.fused else Moments()
            moments.exchange(self.strategy.concatenate)
            self.moments_shared = True

    def _step(self, step: Step, draw: Draw | None, number: int) -> torch.Tensor:
        """The ``number``-th step of the run from 0; this rank's :func:`tally`."""
        images, labels = self._load(step.rows)
        numbers = None
        if draw is not None and self.strategy.reads_images:
            numbers = moved(draw.numbers[step.rows], self.strategy.device)
        rate = self.rate_at(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        part = self.learn(images, labels, numbers, step.images)
        if self.average:
            self.average.update(number)
        return part

    def _load(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """The stored images (where this rank reads them) and labels of ``rows``, on the device."""
        device, images = self.strategy.device, self.images
        # what is on the device already is picked out there: that is work, and none waits for it
        kept = images.source is Source.RESIDENT
        with nullcontext() if kept else self.data_wait.batch():
            labels = self.labels[moved(rows, device)]
            reads = self.strategy.reads_images
            return images.of(rows) if reads else torch.empty(len(rows), 0), labels

    def _input(self, images: torch.Tensor) -> torch.Tensor:
        """What this rank's part of the network takes, of stored images."""
        as_they_are = self.fused is not None or not self.strategy.reads_images
        return images if as_they_are else network_input(images, self.strategy.options.memory_format)
