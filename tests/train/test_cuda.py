"""Why torch can use no GPU: each cause is named, with what would mend it."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from weather_hpc.runs import gpus
from weather_hpc.train import cuda
from weather_hpc.train.cuda import usable_gpus, why_no_cuda

TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040)."


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Node":
    return Node(tmp_path, monkeypatch)


class Node:
    """What is at the border of the process: the driver's files, and torch's way to CUDA."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.module, self.patch = folder / "version", patch
        patch.setattr(gpus, "DRIVER_MODULE", self.module)
        patch.setattr(gpus, "DRIVER_LIBRARY", str(folder / "libcuda.so.1"))
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def has_driver(self, version: str, cuda: int) -> None:
        """As the kernel module and the driver's library tell it."""
        self.module.write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Sat Aug 19 01:15:15 UTC\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
        )

        def get_version(value: "ctypes._CArgObject") -> int:
            value._obj.value = cuda  # type: ignore[attr-defined]
            return 0

        self.patch.setattr(
            ctypes, "CDLL", lambda _: SimpleNamespace(cuDriverGetVersion=get_version)
        )

    def has_torch_for(self, version: str | None, says: str = "") -> None:
        def init() -> None:
            raise RuntimeError(says)

        self.patch.setattr(torch.version, "cuda", version)
        self.patch.setattr(torch.cuda, "init", init)


def why() -> str:
    said = why_no_cuda()
    assert said is not None
    assert "\n" not in said
    return said


def test_nothing_stops_where_a_gpu_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (usable_gpus(), why_no_cuda()) == (2, None)


def test_a_cpu_build_beside_a_driver(node: Node) -> None:
    node.has_driver("535.104.05", 12020)
    node.has_torch_for(None)
    node.patch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    said = why()
    assert said.startswith(
        f"torch {torch.__version__} is a CPU build; NVIDIA driver 535.104.05, which serves CUDA up "
        "to 12.2; CUDA_VISIBLE_DEVICES is 0,1,2,3. Install torch for CUDA 12: "
    )
    assert "pip install torch --index-url https://download.pytorch.org/whl/cu12" in said


def test_a_cpu_build_on_a_node_without_gpus(node: Node) -> None:
    node.has_torch_for(None)
    said = why()
    assert "; no NVIDIA driver; CUDA_VISIBLE_DEVICES is not set. Use a node with NVIDIA" in said
    assert "make CONSTRAINTS= sweep" in said
    assert said.endswith("https://pytorch.org/get-started/locally/")


def test_a_driver_too_old_for_the_build(node: Node) -> None:
    node.has_driver("470.57.02", 11040)
    node.has_torch_for("13.0", f"{TOO_OLD}\nPlease update your GPU driver.")
    said = why()
    assert f"torch {torch.__version__} is built for CUDA 13.0; NVIDIA driver 470.57.02" in said
    assert (
        f"torch says: {TOO_OLD} Please update your GPU driver.. Install torch for CUDA 11" in said
    )
    assert said.endswith("; or a driver from 580 on")


def test_gpus_that_the_job_did_not_get(node: Node) -> None:
    node.has_driver("580.65.06", 13000)
    node.has_torch_for("12.8", "No CUDA GPUs are available")
    node.patch.setenv("CUDA_VISIBLE_DEVICES", "")
    said = why()
    assert "CUDA_VISIBLE_DEVICES is empty: no GPU is visible; torch says: No CUDA GPUs" in said
    assert "Ask for GPUs in the job" in said
    assert "nstall" not in said


def test_torchs_warning_goes_into_the_reason_and_nowhere_else(
    node: Node, recwarn: pytest.WarningsRecorder
) -> None:
    def warns() -> bool:
        import warnings

        warnings.warn(f"CUDA initialization: {TOO_OLD}", stacklevel=2)
        return False

    node.patch.setattr(torch.cuda, "is_available", warns)
    node.has_torch_for("12.8", TOO_OLD)
    assert usable_gpus() == 0
    assert TOO_OLD in why()
    assert len(recwarn) == 0


@pytest.mark.parametrize(
    ("number", "cudnn"), [(91002, "9.10.2"), (90100, "9.1.0"), (8907, "8.9.7"), (None, None)]
)
def test_versions_of_what_computes_on_gpus(
    monkeypatch: pytest.MonkeyPatch, number: int | None, cudnn: str | None
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: number)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 7))
    found = cuda.versions()
    assert (found["cuda"], found.get("cudnn"), found["nccl"]) == ("13.0", cudnn, "2.27.7")


def test_a_build_without_cuda_has_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert cuda.versions() == {}


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release",
            "550.54.14",
        ),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  390.157  Wed Oct 12 2022", "390.157"),
    ],
)
def test_the_drivers_version_by_its_module(node: Node, line: str, version: str) -> None:
    node.module.write_text(line + "\n")
    assert gpus.driver_version() == version
    assert gpus.driver_cuda() is None
    assert cuda._driver(None) == f"NVIDIA driver {version}"
