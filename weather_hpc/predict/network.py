"""A trained network, from the checkpoint of its run."""

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
from weather_hpc.runs.paths import RunPaths
from weather_hpc.train.checkpoint import Checkpoint, load_checkpoint
from weather_hpc.train.cuda import usable_gpus, why_no_cuda
from weather_hpc.train.loader import network_input

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A trained network."""

    module: nn.Module
    classes: list[str]
    image_size: int
    """Height and width of its input, pixels."""
    device: torch.device
    checkpoint: Path

    def probabilities(self, images: Sequence[Images]) -> Probabilities:
        """Class probabilities of ``images``, each uint8 (side, side, 3): float32 (images, classes).

        Rows sum to 1. Raises UserError where the network's outputs are not numbers.
        """
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        with torch.inference_mode():
            output = self.module(network_input(batch)).float().softmax(dim=1).cpu().numpy()
        if not np.isfinite(output).all():
            raise UserError("the network's outputs are not numbers: its training diverged")
        result: Probabilities = output
        return result


def load_network(path: Path, device: str, threads: int) -> Network:
    """The network in the checkpoint ``path``, or of the run folder ``path``, on ``device``.

    ``device``: auto, cpu or cuda. Only tensors and plain values are read: a checkpoint cannot run
    code. Raises UserError where the file is not a checkpoint or has no complete epoch, the run
    folder has none, or the device is missing.
    """
    path = _checkpoint_file(path)
    on_gpu = device != "cpu" and usable_gpus() > 0
    if device == "cuda" and not on_gpu:
        raise UserError(f"--device cuda: {why_no_cuda()}")
    torch.set_num_threads(threads)
    where = torch.device("cuda" if on_gpu else "cpu")
    checkpoint = load_checkpoint(path)
    return Network(
        module=_rebuild(checkpoint, path).eval().to(where),
        classes=checkpoint.classes,
        image_size=checkpoint.configuration["image_size"],
        device=where,
        checkpoint=path,
    )


def _checkpoint_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"--checkpoint {path}: no such file; training writes checkpoint.pt")
    run = RunPaths(path)
    if run.checkpoint.is_file():
        return run.checkpoint
    if run.spec.exists() or run.record.exists():
        raise UserError(
            f"--checkpoint {path}: this run has no {run.checkpoint.name}: it wrote none, or "
            "`sweep clean` removed it"
        )
    raise UserError(f"--checkpoint {path}: is no run folder; expected runs/<run> of a training")


def _rebuild(checkpoint: Checkpoint, path: Path) -> nn.Module:
    task: dict[str, Any] = checkpoint.configuration
    if checkpoint.epoch == 0:
        raise UserError(f"--checkpoint {path}: no epoch is complete in it; train on with --resume")
    try:
        module = build_for_weights(
            task["model"], len(checkpoint.classes), task["image_size"], task.get("weights")
        )
        module.load_state_dict(checkpoint.best)
    except (KeyError, TypeError, RuntimeError) as error:
        text = str(error).partition("\n")[0]
        raise UserError(f"--checkpoint {path}: weights do not match its network: {text}") from None
    return module
