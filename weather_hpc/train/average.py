"""A moving average of a network's weights, which generalises better than the last ones do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

State = dict[str, torch.Tensor]


class Average:
    """Of all weights and running statistics of ``network``; counts are copied.

    After each step ``keep`` of the old average stays; less in the first steps, so that the
    weights that training began with are soon forgotten.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.network = network
        self.keep = keep
        self.state: State = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int | torch.Tensor) -> None:
        """Take in the weights that the ``step``-th step of the run has left, counted from 0.

        A number on the device, shape (), is left there.
        """
        now = self.network.state_dict()
        floats = [name for name, value in self.state.items() if value.is_floating_point()]
        average, new = ([of[name] for name in floats] for of in (self.state, now))
        early = (1 + step) / (10 + step)
        if isinstance(early, torch.Tensor):
            change = torch._foreach_sub(new, average)
            torch._foreach_mul_(change, 1 - early.clamp_max(self.keep))
            torch._foreach_add_(average, change)
        else:
            torch._foreach_lerp_(average, new, 1 - min(self.keep, early))
        for name in self.state.keys() - set(floats):
            self.state[name].copy_(now[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network holds the average meanwhile."""
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.state)
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def restore(self, state: State) -> None:
        """Go back to a copy of :attr:`state`; it may hold more than this network's part."""
        for name, value in self.state.items():
            value.copy_(state[name])
