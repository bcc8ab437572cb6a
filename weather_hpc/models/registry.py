"""Networks by name: ours, and torchvision's classifiers under torchvision's names."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from weather_hpc.errors import UserError, nearest
from weather_hpc.models.efficientnet_lite import efficientnet_lite0
from weather_hpc.models.paper_cnn import paper_cnn
from weather_hpc.models.weather_net import weather_net
from weather_hpc.study.networks import TIMM, network, unknown_network

Builder = Callable[[int, int], nn.Module]
"""(classes, image side in pixels) -> a network with random initial weights."""

StateDict = dict[str, torch.Tensor]
"""A network's parameters and buffers by name, as torch gives them."""

MODELS: dict[str, Builder] = {
    "paper_cnn": paper_cnn,
    "weather_net": weather_net,
    "efficientnet_lite0": efficientnet_lite0,
}
"""Our own networks. Other names are torchvision's, as :data:`NETWORKS` lists them."""

WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
"""Built without their auxiliary heads, which only one old training recipe uses."""


def build_model(name: str, classes: int, image_size: int) -> nn.Module:
    """The network ``name``: (images, 3, side, side) float -> (images, classes) logits.

    Its initial weights come from torch's generator: seed that first. Raises UserError for an
    unknown name and for an image side that the network cannot take.
    """
    known = network(name)
    if known is None and name not in MODELS:
        raise UserError(f"--model {name}: {unknown_network(name)}")
    if known is not None and (refusal := known.refusal(image_size)):
        raise UserError(f"--model {name} {refusal}; pack the store with another --size")
    if name in MODELS:
        return MODELS[name](classes, image_size)
    if name.startswith(TIMM):
        return _timm_model(name, classes, image_size)
    return _torchvision_model(name, classes, image_size)


def _torchvision_model(name: str, classes: int, image_size: int) -> nn.Module:
    options: dict[str, object] = {"weights": None, "num_classes": classes}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    if name in WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False, "init_weights": True}
    built: nn.Module = import_torchvision().models.get_model(name, **options)
    return built


def import_timm() -> ModuleType:
    """The package timm, which imports torchvision. Raises UserError where it is not installed."""
    import_torchvision()
    try:
        import timm
    except ImportError:
        raise UserError("timm is not installed: pip install 'weather_hpc[timm]'") from None
    module: ModuleType = timm
    return module


def _timm_model(name: str, classes: int, image_size: int) -> nn.Module:
    plain = name.removeprefix(TIMM)
    timm = import_timm()
    if not timm.is_model(plain):
        close = nearest(plain, timm.list_models())
        raise UserError(f"--model {name}: timm {timm.__version__} has no such network{close}")
    options: dict[str, object] = {"pretrained": False, "num_classes": classes}
    try:
        built: nn.Module = timm.create_model(plain, **options, img_size=image_size)
    except TypeError:  # only networks whose weights depend on it take the side
        built = timm.create_model(plain, **options)
    return built


SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


_declared: list[torch.library.Library] = []
"""A declaration lasts as long as the object that made it."""


def import_torchvision() -> ModuleType:
    """The torchvision package, with ``models`` and ``transforms`` usable, also with a CPU torch.

    torchvision's compiled operators may not load: its wheels on PyPI are CUDA builds, while torch
    is often a CPU build. The import then fails at the first operator that it only describes
    ("operator torchvision::nms does not exist"). With these two schemas declared first, networks
    and transforms work; what needs the operators themselves (``io``, detection) does not.
    Raises UserError where it is not installed.
    """
    if "torchvision" not in sys.modules:
        spec = importlib.util.find_spec("torchvision")
        if spec is None or not spec.submodule_search_locations:
            raise UserError("torchvision is not installed: pip install 'weather_hpc[train]'")
        _load_operators(Path(spec.submodule_search_locations[0]))
        missing = [name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name)]
        if missing:
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for name in missing:
                library.define(SCHEMAS[name])  # type: ignore[no-untyped-call]
            _declared.append(library)
    import torchvision
    import torchvision.models
    import torchvision.transforms.v2

    module: ModuleType = torchvision
    return module


def _load_operators(folder: Path) -> None:
    """Load torchvision's compiled operators where they fit this torch, as its import does."""
    for path in folder.glob("_C.*"):
        try:
            torch.ops.load_library(path)  # type: ignore[no-untyped-call]
        except OSError:  # a library that it is linked with, such as CUDA's, is missing
            continue
