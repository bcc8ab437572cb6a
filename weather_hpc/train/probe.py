"""The recipe that fits the last layer alone: features of all images, then logistic regression."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from weather_hpc.errors import UserError
from weather_hpc.models.head import FeatureTap, Head, head_of
from weather_hpc.train.checkpoint import StateDict
from weather_hpc.train.loop import Position, Trainer
from weather_hpc.train.stop import StopFile
from weather_hpc.train.strategies.base import tally

PENALTIES = (0.1, 0.03, 0.01, 0.003, 0.001)
"""Of squared weights, on features of unit deviation; the largest first, each starts the next."""

FOLDS = 4
MOST_FOR_CHOICE = 5000
"""Images that the penalty is chosen with."""

MOST_ITERATIONS = 300


class ProbeTrainer(Trainer):
    """One pass over the images for their features, then the last layer; the others stay.

    Images are not changed, and the network is in evaluation mode throughout.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.parts: list[torch.Tensor] = []
        """Features of the steps so far."""

    @property
    def head(self) -> Head:
        """The layer that is fitted."""
        return head_of(self.strategy.network, len(self.store.classes))

    def make_optimizer(self) -> torch.optim.Optimizer:
        """It has no state: fitting is not cut into steps."""
        return torch.optim.LBFGS(self.head.parameters())

    @torch.no_grad()
    def warm_up(self, steps: int) -> None:
        """Compute features of one step of each size; nothing else changes."""
        of_each_size = {step.images: step for step in self.sampler.epoch(0)} if steps else {}
        for step in of_each_size.values():
            self._features(self._load(step.rows)[0])

    @torch.no_grad()
    def train_epoch(
        self,
        epoch: int,
        advance: Callable[[], object],
        stop: StopFile,
        resumed: Position | None = None,
    ) -> Position:
        """Compute the features of every image once, then fit; the tally is of the fitted layer."""
        steps = self.sampler.epoch(epoch)
        done = resumed.steps if resumed else 0
        for step in steps[done:]:
            self.parts.append(self._features(self._load(step.rows)[0]))
            done += 1
            advance()
            if done < len(steps) and stop.seen(done):
                break
        total = torch.zeros(2, dtype=torch.float64, device=self.strategy.device)
        if done == len(steps):
            features = torch.cat(self.parts)
            labels = self.labels.cpu()[np.concatenate([step.rows for step in steps])]
            weight, bias = fit(features, labels, len(self.store.classes), self.task.seed)
            logits = features @ weight.T + bias
            total += tally(cross_entropy(logits, labels, reduction="sum"), logits, labels)
            self.head.weight.copy_(weight.view_as(self.head.weight))
            if self.head.bias is not None:
                self.head.bias.copy_(bias)
            self.parts = []
        return Position(done, total)

    def snapshot(self) -> StateDict:
        """The same, with the features so far."""
        return super().snapshot() | {"features": list(self.parts)}

    def restore(self, state: StateDict) -> None:
        """Restore a :meth:`snapshot`."""
        super().restore(state)
        self.parts = list(state["features"])

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        self.strategy.network.eval()
        with FeatureTap(self.head) as tap:
            self.strategy.predict(self._input(images))
        return tap.features.cpu()


def fit(
    features: torch.Tensor, labels: torch.Tensor, classes: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (classes, features) and bias (classes,) of a linear layer, float32.

    Multinomial logistic regression with a penalty of squared weights, which is chosen by the loss
    on images that the layer was not fitted on, in four folds. Raises UserError for features that
    are not finite.
    """
    if not features.isfinite().all():
        raise UserError("the network's features are not finite numbers: are the weights right?")
    middle = features.double().mean(0)
    scale = features.double().std(0).mean().clamp_min(1e-12)
    scaled = (features.double() - middle) / scale
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    chosen = order[:MOST_FOR_CHOICE]
    losses = torch.zeros(len(PENALTIES))
    folds = [fold for fold in chosen.chunk(FOLDS) if len(fold) < len(chosen)]
    for fold in folds:
        rest = chosen[~torch.isin(chosen, fold)]
        layer = None
        for number, penalty in enumerate(PENALTIES):
            layer = _fitted(scaled[rest], labels[rest], classes, penalty, layer)
            logits = scaled[fold] @ layer[0].T + layer[1]
            losses[number] += float(cross_entropy(logits, labels[fold], reduction="sum"))
    best = PENALTIES[int(losses.argmin())]
    weight, bias = _fitted(scaled, labels, classes, best, None)
    weight = weight / scale
    return weight.float(), (bias - weight @ middle).float()


Layer = tuple[torch.Tensor, torch.Tensor]


@torch.enable_grad()
def _fitted(
    features: torch.Tensor, labels: torch.Tensor, classes: int, penalty: float, start: Layer | None
) -> Layer:
    if start is None:
        start = features.new_zeros(classes, features.shape[1]), features.new_zeros(classes)
    weight, bias = (nn.Parameter(part.clone()) for part in start)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=MOST_ITERATIONS, tolerance_grad=1e-6, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = features @ weight.T + bias
        value = cross_entropy(logits, labels) + penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
