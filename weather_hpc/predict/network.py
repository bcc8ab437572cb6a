"""A trained network out of its checkpoint, ready to name images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weather_hpc.errors import UserError
from weather_hpc.models.pretrained import build_for_weights
from weather_hpc.train.checkpoint import Checkpoint, load_checkpoint
from weather_hpc.train.cuda import usable_gpus, why_no_cuda
from weather_hpc.train.loader import network_input

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A network that names images."""

    module: nn.Module
    classes: list[str]
    image_size: int
    """Height and width that it takes, pixels."""
    device: torch.device

    def probabilities(self, images: Sequence[Images]) -> Probabilities:
        """Of ``images``, each uint8 (side, side, 3): float32 (images, classes), rows sum to 1.

        Raises UserError where the network's outputs are not numbers.
        """
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        with torch.inference_mode():
            output = self.module(network_input(batch)).float().softmax(dim=1).cpu().numpy()
        if not np.isfinite(output).all():
            raise UserError("the network's outputs are not numbers: its training diverged")
        result: Probabilities = output
        return result


def load_network(path: Path, device: str, threads: int) -> Network:
    """The network in the checkpoint ``path`` on ``device`` (auto, cpu or cuda).

    Only tensors and plain values are read: a checkpoint cannot run code. Raises UserError where
    the file is no checkpoint, has no ended epoch in it, or there is no such device.
    """
    if not path.is_file():
        raise UserError(f"--checkpoint {path}: no such file; training writes checkpoint.pt")
    on_gpu = device != "cpu" and usable_gpus() > 0
    if device == "cuda" and not on_gpu:
        raise UserError(f"--device cuda: {why_no_cuda()}")
    torch.set_num_threads(threads)
    where = torch.device("cuda" if on_gpu else "cpu")
    checkpoint = load_checkpoint(path)
    return Network(
        module=_rebuild(checkpoint, path).eval().to(where),
        classes=checkpoint.classes,
        image_size=checkpoint.asked["image_size"],
        device=where,
    )


def _rebuild(checkpoint: Checkpoint, path: Path) -> nn.Module:
    asked: dict[str, Any] = checkpoint.asked
    if checkpoint.epoch == 0:
        raise UserError(f"--checkpoint {path}: no epoch has ended in it; train on with --resume")
    try:
        module = build_for_weights(
            asked["model"], len(checkpoint.classes), asked["image_size"], asked.get("weights")
        )
        module.load_state_dict(checkpoint.best)
    except (KeyError, TypeError, RuntimeError) as error:
        text = str(error).partition("\n")[0]
        raise UserError(f"--checkpoint {path}: does not fit its own network: {text}") from None
    return module
