"""Whether torch can compute on GPUs here; if not, why, and what to do; and GPU memory.

A job may hold GPUs that its torch cannot use: a CPU build, a driver too old for the build, GPUs
that are not visible. All have the same symptom: no CUDA.
"""

import contextlib
import importlib.metadata
import os
import warnings
from collections.abc import Iterable

import torch
from torch.cuda import nccl

from weather_hpc.runs.gpus import BYTES_PER_MB, driver_cuda, driver_version
from weather_hpc.text import one_line

WHEELS = "https://download.pytorch.org/whl"
BUILDS = "https://pytorch.org/get-started/locally/"
"""Lists the builds: there are no wheels for some versions of CUDA."""

OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580"}
"""The first driver that supports builds for a major version of CUDA, whatever the minor one."""


def usable_gpus() -> int:
    """GPUs that torch can compute on; 0 without CUDA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns once a process; why_no_cuda() quotes it
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def why_no_cuda() -> str | None:
    """Why torch cannot compute on a GPU here, in one line; None where it can.

    Names the build of torch, the driver, the visible GPUs, torch's own error, and what to install
    or request.
    """
    if usable_gpus():
        return None
    build, newest = _built_for(), driver_cuda()
    parts = [_build(build), _driver(newest), _visible()]
    if build is not None:
        parts.append(f"torch says: {_torch_says()}")
    return f"{'; '.join(parts)}. {_advice(build, newest)}"


def versions() -> dict[str, str]:
    """Versions of the CUDA, cuDNN, NCCL and Triton that torch has."""
    if torch.version.cuda is None:
        return {}
    found = {"cuda": torch.version.cuda}
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if cudnn is not None:
        # 90100 is 9.1.0; before 9 the number has one digit less
        major, rest = divmod(cudnn, 10_000 if cudnn >= 90_000 else 1000)
        found["cudnn"] = _dotted((major, *divmod(rest, 100)))
    with contextlib.suppress(AttributeError):  # not in every build
        found["nccl"] = _dotted(nccl.version())  # type: ignore[no-untyped-call]
    for package in ("triton", "pytorch-triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found["triton"] = importlib.metadata.version(package)
    return found


def _built_for() -> tuple[int, ...] | None:
    """The CUDA that torch was built for; None for a build without."""
    version = torch.version.cuda
    return None if version is None else tuple(int(part) for part in version.split("."))


def _build(built_for: tuple[int, ...] | None) -> str:
    if built_for is not None:
        return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
    kind = "CPU" if torch.version.hip is None else "ROCm"
    return f"torch {torch.__version__} is a {kind} build"


def _driver(newest: tuple[int, int] | None) -> str:
    version = driver_version()
    if version is None and newest is None:
        return "no NVIDIA driver"
    serves = "" if newest is None else f", which serves CUDA up to {_dotted(newest)}"
    return f"NVIDIA driver {version or 'of unknown version'}{serves}"


def _visible() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return "CUDA_VISIBLE_DEVICES is not set"
    return f"CUDA_VISIBLE_DEVICES is {visible or 'empty: no GPU is visible'}"


def _torch_says() -> str:
    """The text of this error is that of its warning, which comes once a process."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return one_line(error)
    return "nothing"


def _advice(built_for: tuple[int, ...] | None, newest: tuple[int, int] | None) -> str:
    if newest is None and driver_version() is None:
        node = "Use a node with NVIDIA GPUs"
        return node if built_for else f"{node}. {_install(None)}"
    if built_for is None:
        return _install(newest)
    if newest is not None and built_for[0] > newest[0]:
        oldest = OLDEST_DRIVER.get(built_for[0])
        return _install(newest) + (f"; or a driver from {oldest} on" if oldest else "")
    return "Ask for GPUs in the job (--gres=gpu:1) and see whether nvidia-smi lists them there"


def _install(newest: tuple[int, int] | None) -> str:
    """How to get a build of torch for the driver: one for its major version of CUDA.

    Without an index pip installs one for the newest CUDA, which not every driver supports.
    """
    if newest is None:
        return f"Install a CUDA build of torch: make CONSTRAINTS= sweep, or {BUILDS}"
    index = f"{WHEELS}/cu{newest[0]}x, with x as {BUILDS} lists it"
    return f"Install torch for CUDA {newest[0]}: pip install torch --index-url {index}"


def _dotted(version: tuple[object, ...]) -> str:
    return ".".join(map(str, version))


def working_bytes(device: torch.device) -> int:
    """Peak minus current memory in use, bytes: what a step needs for itself."""
    return torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)


def free_bytes(device: torch.device) -> int:
    """Available bytes: free, or reserved by this process and not in use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def reset_peaks(devices: Iterable[torch.device]) -> None:
    """Measure peaks from here on."""
    for device in devices:
        torch.cuda.reset_peak_memory_stats(device)


def peaks_mb(devices: Iterable[torch.device]) -> list[float]:
    """Peak memory in use of each of ``devices``, MB."""
    return [torch.cuda.max_memory_allocated(device) / BYTES_PER_MB for device in devices]
