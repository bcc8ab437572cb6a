"""The one place that makes torchvision importable, also beside a CPU build of torch.

torchvision's compiled operators may not load: its wheels on PyPI are CUDA builds, while torch is
often had as a CPU build. The import then dies at the first operator that it only wants to
describe ("operator torchvision::nms does not exist"). With the two schemas declared beforehand,
its networks and transforms work; what needs the operators themselves (``io``, detection) does not.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from weather_hpc.errors import UserError

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_declared: list[torch.library.Library] = []
"""Declarations live as long as the object that made them."""


def import_torchvision() -> ModuleType:
    """The torchvision package, with ``models`` and ``transforms`` usable.

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
    """Load torchvision's compiled operators where they fit this torch, as its import would."""
    for path in folder.glob("_C.*"):
        try:
            torch.ops.load_library(path)  # type: ignore[no-untyped-call]
        except OSError:  # a library that it is linked with, such as CUDA's, is not here
            continue
