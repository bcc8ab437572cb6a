"""Checkpoints: all that a run needs to continue as if it had never stopped, in one file.

Plain tensors, numbers and strings, so that ``torch.load(weights_only=True)`` reads them.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import torch
from pydantic import BaseModel, Field, ValidationError, create_model

from weather_hpc.dataset.file_kind import HEAD, kind_of
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import atomic_path
from weather_hpc.reading import check_size, first_error
from weather_hpc.text import clean
from weather_hpc.train.again import UNUSABLE
from weather_hpc.train.request import Request

VERSION = 6

EXPECTED = "expected a checkpoint.pt that `weather-hpc train` wrote, or the folder of its run"

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
    epoch: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0)]
    loss: float | None
    """Mean training loss of that epoch; None before the first has ended."""
    accuracy: float | None
    """Training accuracy of that epoch, 0..1; None before the first has ended."""
    seconds: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    """Seconds of each :class:`weather_hpc.train.meter.Phase` so far."""
    energy: dict[str, Annotated[float, Field(allow_inf_nan=False)] | None]
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


_HINTS: dict[str, Any] = get_type_hints(Checkpoint, include_extras=True)
_FIELDS: dict[str, Any] = {name: (hint, ...) for name, hint in _HINTS.items()}
_PARTS: type[BaseModel] = create_model("_PARTS", **_FIELDS)
"""Checks the types of a checkpoint's parts."""


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in ``path``, on the CPU. Raises UserError saying what else it is."""
    check_size(path, None)
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises anything from EOFError to UnpicklingError for a damaged file, and where it is
        # cut short EINVAL: it seeks to before the start
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
        raise UserError(
            f"{path}: cannot be read as a checkpoint: it {_what_else(path, error)}; {EXPECTED}"
        ) from None
    version = value.pop("version", None) if isinstance(value, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{path}: was written by a later weather_hpc (checkpoint version {version}, this one "
            f"reads up to {VERSION}): update weather_hpc"
        )
    if version == UNCALIBRATED:
        value["calibration"] = {}
        if isinstance(value.get("asked"), dict):
            value["asked"].setdefault("held_apart", 0.0)
    elif isinstance(version, int) and version != VERSION:
        raise UserError(
            f"{path}: was written by an earlier weather_hpc (checkpoint version {version}, this "
            f"one reads from {UNCALIBRATED}): train the network again"
        )
    elif version != VERSION:
        raise UserError(f"{path}: {_of_torch(value)}; {EXPECTED}")
    keys = {field.name: FILE_KEYS.get(field.name, field.name) for field in fields(Checkpoint)}
    if value.keys() != set(keys.values()):
        raise UserError(f"{path}: is no checkpoint of training: parts are missing or unknown")
    parts = {name: value[key] for name, key in keys.items()}
    try:
        _PARTS.model_validate(parts, strict=True)  # only checks: the copy lacks torch's metadata
    except ValidationError as error:
        raise UserError(f"{path}: is no checkpoint of training: {first_error(error)}") from None
    return Checkpoint(**parts)


def _what_else(path: Path, error: Exception) -> str:
    """What a file is that torch cannot load, as ``error`` says."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    size = path.stat().st_size
    if not head.startswith((b"PK\3\4", b"\x80")):  # torch's formats, of today and long ago
        kind = kind_of(head, size)
        return f"is an image ({kind.format})" if kind.format else f"is {kind.name}"
    if "weights_only" in str(error):
        return "holds Python objects, which are not loaded since they could run code"
    return f"is a damaged file of torch.save ({type(error).__name__}), {size} bytes"


def _of_torch(value: Any) -> str:
    """What a file of torch.save holds that is no checkpoint of ours."""
    if not isinstance(value, dict):
        return f"is a file of torch.save with a {type(value).__name__}"
    names = ", ".join(clean(str(name)) for name in list(value)[:3])
    return f"is a file of torch.save with {len(value)} entries ({names}, ...)"


@contextmanager
def restoring(request: Request) -> Iterator[None]:
    """Within the block a run is restored from its checkpoint.

    Raises UserError where the checkpoint's parts have not the content that they need.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        path = request.paths.checkpoint if request.paths else "checkpoint"
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: is damaged ({type(error).__name__}: {reason}); {UNUSABLE}"
        ) from None


def _os_error(error: BaseException | None) -> OSError | None:
    """The system's error that ``error`` is or hides; None where there is none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def on_cpu(value: Any) -> Any:
    """A copy of ``value``, dicts and lists included, whose tensors lie on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [on_cpu(item) for item in value]
    return value
