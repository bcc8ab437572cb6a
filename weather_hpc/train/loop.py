"""The training loop, the same for every strategy."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from weather_hpc.dataset.store import Store
from weather_hpc.models.fused import FusedNetwork, Moments
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.tasks import TrainTask
from weather_hpc.train.augmentation import Numbers, augment, random_numbers
from weather_hpc.train.checkpoint import StateDict, on_cpu
from weather_hpc.train.cuda import working_bytes
from weather_hpc.train.evaluation import Predictions, Score
from weather_hpc.train.graphs import StepGraphs
from weather_hpc.train.loader import (
    DataWait,
    EpochSampler,
    ImageReader,
    Rows,
    Source,
    Step,
    network_input,
    to_device,
)
from weather_hpc.train.optimizer import Average, make_optimizer
from weather_hpc.train.progress import Progress
from weather_hpc.train.stop import StopFile
from weather_hpc.train.strategies.base import TrainingStrategy, tally


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
        self,
        strategy: TrainingStrategy,
        store: Store,
        sampler: EpochSampler,
        task: TrainTask,
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress or Progress()
        """Is told of every step."""
        self.strategy = strategy
        self.store = store
        self.sampler = sampler
        self.task = task
        self.recipe = recipe = RECIPES[task.recipe]
        self.labels = torch.from_numpy(store.labels).to(strategy.device)
        self.images = ImageReader(store, strategy.device)
        self.replays = task.execution.replays and strategy.device.type == "cuda"
        """Whether steps are to be CUDA graphs."""
        self.optimizer = self.make_optimizer()
        self.average = Average(strategy.network, recipe.averaging) if recipe.averaging else None
        network = strategy.network
        self.fused = network if isinstance(network, FusedNetwork) else None
        """The network, where it takes images as they are stored."""
        self.moments_shared = False
        """Whether :meth:`_share_moments` has run."""
        self.augments = recipe.augments
        """Whether images are changed at random, differently in every epoch."""
        self.graphs: StepGraphs | None = None
        """The steps as CUDA graphs, once :meth:`capture_graphs` has captured them."""
        self.data_wait = DataWait(strategy.device)
        """Of this rank's batches, warm-up and evaluation included."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The recipe's, over the network's parameters."""
        return make_optimizer(self.strategy.network, self.recipe, on_device=self.replays)

    def train_epoch(
        self,
        epoch: int,
        advance: Callable[[], object],
        stop: StopFile,
        resumed: Position | None = None,
    ) -> Position:
        """Train on every image once, or until a step at which the stop file was seen.

        ``resumed``: where an earlier process stopped in this epoch. Nothing is read from the device
        meanwhile. Returns how far the epoch has come.
        """
        self.strategy.network.train()
        steps = self.sampler.epoch(epoch)
        numbers = self.random_numbers(epoch)
        done = resumed.steps if resumed else 0
        if self.graphs:
            with self.data_wait.idle():
                self.graphs.begin(epoch, done)
        total = torch.zeros(2, dtype=torch.float64, device=self.strategy.device)
        if resumed:
            total += resumed.total.to(self.strategy.device)
        for step in steps[done:]:
            if self.fused and not self.augments:
                self.fused.set_rows(step.rows)
            if self.graphs:
                total += self.graphs.step(len(step.rows))
            else:
                total += self._step(step, numbers, (epoch - 1) * len(steps) + done)
            done += 1
            self.progress.step = done
            advance()
            if done < len(steps) and stop.seen(done):
                break
        if resumed is None and done == len(steps) and epoch < self.task.epochs:
            self._share_moments()
        return Position(done, total)

    def score(self, total: torch.Tensor, images: int, epoch: int) -> Score:
        """The score of ``images`` from the ranks' tallies. Raises DivergedError for a NaN loss."""
        loss_sum, right = self.strategy.sum(total).tolist()
        if not math.isfinite(loss_sum):
            what = "NaN" if math.isnan(loss_sum) else "infinite"
            raise DivergedError(f"loss is {what} at epoch {epoch}")
        return Score(loss_sum / images, right / images, images)

    def warm_up(self, steps: int) -> None:
        """Train ``steps`` steps and undo them: memory, caches and buckets stay, weights do not.

        At least one step of each size, since the first of a size compiles and chooses kernels,
        which must not be in measured time. 0: no step at all.
        """
        if not steps:
            return
        before = self.snapshot()
        self.strategy.network.train()
        numbers = self.random_numbers(0)
        # the largest first: smaller ones then fit into its memory
        of_each_size = {step.images: step for step in self.sampler.epoch(0)}
        planned = sorted(of_each_size.values(), key=lambda step: step.images, reverse=True)
        for number in range(max(steps, len(planned))):
            self._step(planned[number % len(planned)], numbers, number)
            self.progress.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        self.restore(before)

    def cache_images(self) -> Source | None:
        """Cache the training images on the device where they fit besides what a step needs.

        To be called after warm-up. Returns where they are read from; None on a rank without images.
        """
        if not self.strategy.reads_images:
            return None
        needed = 0
        if self.replays:
            # graphs do not use the memory of earlier steps: they need as much again
            needed = working_bytes(self.strategy.device)
            torch.cuda.empty_cache()
        if self.images.fits(self.sampler.rows, needed):
            self.images.cache(self.sampler.rows)
        return self.images.source

    def capture_graphs(self) -> bool:
        """Capture the steps as CUDA graphs, where requested and images are on the device.

        Returns whether they are. From then on weights and optimizer are only changed in place.
        """
        if self.replays and self.images.source is Source.DEVICE:
            self.graphs = StepGraphs(self)
        return self.graphs is not None

    @torch.no_grad()
    def evaluate(self, rows: Rows, batch_size: int) -> tuple[torch.Tensor, list[Predictions]]:
        """This rank's tally over its share of ``rows``, each exactly once, and its predictions.

        Predictions are on the rank that has the network's outputs. Where the recipe averages the
        weights, the average is evaluated.
        """
        with self.average.in_place() if self.average else nullcontext():
            return self._evaluate(rows, batch_size)

    def _evaluate(self, rows: Rows, batch_size: int) -> tuple[torch.Tensor, list[Predictions]]:
        self.strategy.before_evaluation()
        self.strategy.network.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.strategy.device)
        predictions = []
        own = self.strategy.shard.of(rows)
        for batch in np.split(own, range(batch_size, len(own), batch_size)):
            if not len(batch):
                continue
            images, labels = self._load(batch)
            logits = self.strategy.predict(self._input(images))
            if logits is not None:
                total += tally(cross_entropy(logits, labels, reduction="sum"), logits, labels)
                predictions.append(Predictions(batch, logits.float().softmax(dim=1).cpu().numpy()))
            self.progress.step += 1
        return total, predictions

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
        """Restore a :meth:`snapshot`; its weights may be more than this rank's part.

        It may come from another device: the optimizer's options stay as they are here.
        """
        saved, here = state["optimizer"], self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": saved["state"], "param_groups": here})
        self.restore_weights(state)

    def restore_weights(self, state: StateDict) -> None:
        """Restore weights, their average and random states of a :meth:`snapshot`, in place."""
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

    def optimizer_step(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        numbers: torch.Tensor | None,
        step_images: int,
    ) -> torch.Tensor:
        """One optimizer step, entirely on the device; returns this rank's :func:`tally`.

        ``images`` are as stored, ``numbers`` augment them; ``step_images`` counts the images of all
        ranks.
        """
        if numbers is not None:
            images = augment(images, numbers, self.recipe.augmentation)
        self.optimizer.zero_grad(set_to_none=True)
        part = self.strategy.train_step(self._input(images), labels, step_images)
        self.optimizer.step()
        return part

    def random_numbers(self, epoch: int) -> Numbers | None:
        """Those that change the images of ``epoch``; None where the recipe does not augment."""
        if not self.augments:
            return None
        return random_numbers(len(self.store.labels), self.task.seed, epoch)

    def _share_moments(self) -> None:
        """Exchange what ranks have computed from images' pixels, so none computes it again.

        Once, after a whole epoch: then all ranks together have seen all images. Collective.
        """
        if self.strategy.shard.count == 1 or self.augments or self.strategy.device.type != "cpu":
            return
        if not self.moments_shared:
            # on other nodes the layers may be fused
            moments = self.fused.moments if self.fused else Moments()
            moments.exchange(self.strategy.concatenate)
            self.moments_shared = True

    def _step(self, step: Step, numbers: Numbers | None, number: int) -> torch.Tensor:
        """The ``number``-th step of the run from 0; this rank's :func:`tally`."""
        images, labels = self._load(step.rows)
        own = None
        if numbers is not None and self.strategy.reads_images:
            own = to_device(numbers[step.rows], self.strategy.device)
        rate = self.rate_at(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        part = self.optimizer_step(images, labels, own, step.images)
        if self.average:
            self.average.update(number)
        return part

    def _load(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """The stored images (where this rank reads them) and labels of ``rows``, on the device."""
        device, images = self.strategy.device, self.images
        # images on the device are selected there: that is work of the device, not waiting
        cached = images.source is Source.DEVICE
        with nullcontext() if cached else self.data_wait.batch():
            labels = self.labels[to_device(rows, device)]
            reads = self.strategy.reads_images
            return images.read(rows) if reads else torch.empty(len(rows), 0), labels

    def _input(self, images: torch.Tensor) -> torch.Tensor:
        """Stored images as this rank's part of the network takes them."""
        as_they_are = self.fused is not None or not self.strategy.reads_images
        return images if as_they_are else network_input(images, self.strategy.options.memory_format)
