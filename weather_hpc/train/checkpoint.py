"""Checkpoints: all that a run needs to continue as if it had never stopped, in one file.

Plain tensors, numbers and strings, so that ``torch.load(weights_only=True)`` reads them.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import atomic_path
from weather_hpc.train.request import differences

VERSION = 6

UNCALIBRATED = 5
"""The version whose runs held no images apart."""

StateDict = dict[str, Any]

FILE_KEYS = {"configuration": "asked"}
"""Fields that have another name in the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after ``epoch`` epochs and ``step`` steps of the next one."""

    configuration: dict[str, Any]
    """The task's settings and the store's checksum: a run resumes only from its own kind."""
    devices: list[str]
    """What it has been computed on so far, in order: cpu, or a GPU's name."""
    classes: list[str]
    """Names of the network's outputs."""
    epoch: int
    step: int
    loss: float | None
    """Mean training loss of that epoch; None before the first has ended."""
    accuracy: float | None
    """Training accuracy of that epoch, 0..1; None before the first has ended."""
    seconds: dict[str, float]
    """Seconds of each :class:`weather_hpc.train.meter.Phase` so far."""
    energy: dict[str, float | None]
    """The fields of :class:`weather_hpc.runs.telemetry.Energy`."""
    network: StateDict
    """The whole network's ``state_dict``, on the CPU."""
    average: StateDict
    """The moving average of that; empty where the recipe keeps none."""
    calibration: dict[str, Any]
    """The state of a :class:`weather_hpc.train.calibration.Calibration`; empty: there is none."""
    ranks: list[StateDict]
    """Of each rank: random states, its seconds so far (``times``: those of
    :meth:`weather_hpc.train.rank_times.RankClock.state`), its tally of the current epoch, and its
    optimizer's state unless that equals rank 0's."""

    @property
    def best(self) -> StateDict:
        """The weights to evaluate and to predict with."""
        return self.average or self.network

    def save(self, path: Path) -> None:
        """Write to ``path`` atomically.

        Raises FailedError saying why where it cannot be written; what was in ``path`` stays.
        """
        values = {FILE_KEYS.get(name, name): value for name, value in vars(self).items()}
        try:
            # a file of ours: torch's own does not tell why it cannot write
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                torch.save({"version": VERSION, **values}, file)
        except (OSError, RuntimeError) as error:
            cause = _os_error(error)
            if cause is None:
                raise
            raise FailedError(
                f"{path}: the checkpoint cannot be written: {cause.strerror}; "
                + ("the earlier one is kept" if path.exists() else "there is no earlier one")
            ) from None


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in ``path``, on the CPU. Raises UserError where it is not one."""
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:  # says nothing about what the file holds
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:
        # torch raises anything from EOFError to UnpicklingError for a damaged file
        raise UserError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}); "
            "remove it to start over"
        ) from None
    version = value.pop("version", None) if isinstance(value, dict) else None
    if version == UNCALIBRATED:
        value["calibration"] = {}
        if isinstance(value.get("asked"), dict):
            value["asked"].setdefault("held_apart", 0.0)
    elif version != VERSION:
        raise UserError(f"{path}: checkpoint has version {version!r}; expected {VERSION}")
    keys = {field.name: FILE_KEYS.get(field.name, field.name) for field in fields(Checkpoint)}
    if value.keys() != set(keys.values()):
        raise UserError(f"{path}: is no checkpoint of training: parts are missing or unknown")
    return Checkpoint(**{name: value[key] for name, key in keys.items()})


def _os_error(error: BaseException | None) -> OSError | None:
    """The system's error that ``error`` is or hides; None where there is none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def check_same_run(checkpoint: Checkpoint, configuration: dict[str, Any], path: Path) -> None:
    """Raise UserError naming what differs where ``checkpoint`` is another run's."""
    different = differences(checkpoint.configuration, configuration)
    if different:
        raise UserError(
            f"{path}: belongs to another run ({different}); choose another --run-dir, "
            "or leave out --resume to start over"
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
