"""Checkpoints: all that a run needs to go on as if it had never stopped, in one file.

Plain tensors, numbers and strings, so that ``torch.load(weights_only=True)`` reads them.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from weather_hpc.errors import UserError
from weather_hpc.files import atomic_path
from weather_hpc.train.request import differences

VERSION = 5

State = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A run after ``epoch`` epochs and ``step`` steps of the next one."""

    asked: dict[str, Any]
    """The task's settings and the store's checksum: a run resumes from its own kind only."""
    devices: list[str]
    """What it has been computed on so far, in turn: cpu, or a GPU's name."""
    classes: list[str]
    """Names of the network's outputs."""
    epoch: int
    step: int
    loss: float | None
    """Mean training loss of that epoch; None before the first has ended."""
    accuracy: float | None
    """Training accuracy of that epoch, 0..1; None before the first has ended."""
    seconds: dict[str, float]
    """Seconds of each phase so far, and ``total`` since the first start. ``epoch_train`` and
    ``epoch_data_wait`` are those that had gone when the epoch under way began."""
    energy: dict[str, float | None]
    """The fields of :class:`weather_hpc.runs.telemetry.Energy`."""
    network: State
    """The whole network's ``state_dict``, on the CPU."""
    average: State
    """The moving average of that; empty where the recipe keeps none."""
    ranks: list[State]
    """Of each rank: random states, its tally of the epoch under way, and its optimizer's state
    unless that equals rank 0's."""

    @property
    def best(self) -> State:
        """The weights to evaluate and to predict with."""
        return self.average or self.network

    def save(self, path: Path) -> None:
        """Write to ``path`` atomically."""
        with atomic_path(path) as temporary:
            torch.save({"version": VERSION, **vars(self)}, temporary)


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in ``path``, on the CPU. Raises UserError where it is none of ours."""
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises anything from EOFError to UnpicklingError for a damaged file
        raise UserError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}); "
            "remove it to begin anew"
        ) from None
    version = value.pop("version", None) if isinstance(value, dict) else None
    if version != VERSION:
        raise UserError(f"{path}: checkpoint version {version!r} found, {VERSION} wanted")
    if value.keys() != {field.name for field in fields(Checkpoint)}:
        raise UserError(f"{path}: is no checkpoint of training: parts are missing or unknown")
    return Checkpoint(**value)


def check_same_run(checkpoint: Checkpoint, asked: dict[str, Any], path: Path) -> None:
    """Raise UserError naming what differs where ``checkpoint`` is of another run."""
    other = differences(checkpoint.asked, asked)
    if other:
        raise UserError(
            f"{path}: is of another run ({other}); choose another --run-dir, "
            "or leave out --resume to begin anew"
        )


def on_cpu(value: Any) -> Any:
    """A copy of ``value``, dicts and lists included, whose tensors lie on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [on_cpu(item) for item in value]
    return value
