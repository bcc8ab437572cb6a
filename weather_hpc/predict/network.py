"""A trained network, from the checkpoint of its run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weather_hpc.dataset.store import is_store
from weather_hpc.errors import UserError
from weather_hpc.models.pretrained import build_for_weights
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.train.calibration import Calibration, answer, mirrored, tempered
from weather_hpc.train.checkpoint import EXPECTED, Checkpoint, load_checkpoint
from weather_hpc.train.cuda import usable_gpus, why_no_cuda

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Outputs:
    """What is known of images, in their order."""

    probabilities: Probabilities
    """Of each class, (images, classes), calibrated where the network is; rows sum to 1."""
    uncalibrated: Probabilities
    """The same as the network gives them."""
    chances: npt.NDArray[np.floating] | None
    """That an image like the training images is as far from them, (images,); None: not known."""


@dataclass(frozen=True)
class Network:
    """A trained network."""

    module: nn.Module
    classes: list[str]
    image_size: int
    """Height and width of its input, pixels."""
    device: torch.device
    checkpoint: Path
    calibration: Calibration | None = None
    """By images that its training held apart; None: it held none apart."""
    averages: bool = False
    """Whether an image's probabilities are averaged with those of its mirror image."""

    @property
    def temperature(self) -> float | None:
        """What calibrates its probabilities; None: they are not calibrated."""
        if self.calibration is None:
            return None
        return (
            self.calibration.averaged_temperature if self.averages else self.calibration.temperature
        )

    def outputs(self, images: Sequence[Images]) -> Outputs:
        """What is known of ``images``, each uint8 (side, side, 3).

        Raises UserError where the network's outputs are not numbers.
        """
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        found = answer(self.module, len(self.classes), batch)
        shares = found.shares
        if self.averages:
            shares = (shares + mirrored(self.module, batch)) / 2
        if not np.isfinite(shares).all():
            raise UserError("the network's outputs are not numbers: its training diverged")
        if self.calibration is None or self.temperature is None:
            return Outputs(shares, shares, None)
        chances = self.calibration.likeness.chance(found.features, found.looks)
        return Outputs(tempered(shares, self.temperature), shares, chances)


def load_network(path: Path, device: str, threads: int, *, averages: bool = False) -> Network:
    """The network in the checkpoint ``path``, or of the run folder ``path``, on ``device``.

    ``device``: auto, cpu or cuda. ``averages``: with each image's mirror image. Only tensors and
    plain values are read: a checkpoint cannot run code. Raises UserError where the file is not a
    checkpoint or has no complete epoch, the run folder has none, or the device is missing.
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
        calibration=_calibration(checkpoint, path),
        averages=averages,
    )


def _calibration(checkpoint: Checkpoint, path: Path) -> Calibration | None:
    if not checkpoint.calibration:
        return None
    try:
        return Calibration.from_state(checkpoint.calibration)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"--checkpoint {path}: its calibration is damaged: {error}") from None


def _checkpoint_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"--checkpoint {path}: no such file; {EXPECTED}")
    run = RunPaths(path)
    if run.checkpoint.is_file():
        return run.checkpoint
    if is_store(path):
        raise UserError(f"--checkpoint {path}: is a packed store of images; {EXPECTED}")
    if StudyPaths(path).runs.is_dir():
        raise UserError(
            f"--checkpoint {path}: is the results folder of a sweep; give it as --best-of, or one "
            "of its runs/<run>"
        )
    if run.spec.exists() or run.record.exists():
        raise UserError(
            f"--checkpoint {path}: this run has no {run.checkpoint.name}: it wrote none, or "
            "`sweep clean` removed it"
        )
    raise UserError(f"--checkpoint {path}: is no run folder; {EXPECTED}")


def _rebuild(checkpoint: Checkpoint, path: Path) -> nn.Module:
    task: dict[str, Any] = checkpoint.configuration
    if checkpoint.epoch == 0:
        raise UserError(f"--checkpoint {path}: no epoch is complete in it; train on with --resume")
    try:
        module = build_for_weights(
            task["model"], len(checkpoint.classes), task["image_size"], task.get("weights")
        )
        module.load_state_dict(checkpoint.best)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        text = str(error).partition("\n")[0]
        raise UserError(f"--checkpoint {path}: weights do not match its network: {text}") from None
    return module
