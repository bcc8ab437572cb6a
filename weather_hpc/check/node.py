"""A node: its versions, driver and GPUs, and the speed of its memory and its arithmetic."""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from weather_hpc.check.session import Passed, Session, WrongError
from weather_hpc.runs.gpus import nvidia_smi, read_gpus
from weather_hpc.runs.provenance import collect_provenance, node_name
from weather_hpc.study.tasks import Device, Precision
from weather_hpc.train.cuda import versions as cuda_versions
from weather_hpc.train.cuda import why_no_cuda
from weather_hpc.train.strategies import choose_kernels

COPIED = {Device.CPU: 256_000_000, Device.CUDA: 1_000_000_000}
"""Bytes of one copy."""

SIDE = {Device.CPU: 1024, Device.CUDA: 8192}
"""Rows and columns of the matrices in a product."""

GPU_VARIABLES: dict[str, tuple[str, ...]] = {
    "CUDA_VISIBLE_DEVICES": ("-1", "NoDevFiles"), "SLURM_JOB_GPUS": (), "SLURM_STEP_GPUS": (),
    "SLURM_GPUS_ON_NODE": ("0",),
}  # fmt: skip
"""Variables that name the GPUs of a job, and their values, besides empty, without GPUs."""

GPU_SETTINGS = {
    "clocks.max.sm": "largest_clock_mhz", "clocks.max.mem": "largest_memory_clock_mhz",
    "power.limit": "power_limit_w", "mig.mode.current": "mig_mode", "compute_mode": "compute_mode",
}  # fmt: skip
"""Settings of a GPU: the name for nvidia-smi, the name in the results."""


def versions(session: Session) -> Passed:
    """Versions, CPU and GPUs. Wrong if there are GPUs but torch can use none of them."""
    provenance = collect_provenance()
    figures: dict[str, Any] = {f"{k} version": v for k, v in provenance.packages.items()}
    figures |= provenance.slurm | {"host": node_name(), "cpu": provenance.cpu_model}
    figures["cpus_allowed"] = len(os.sched_getaffinity(0))
    listed = read_gpus("start")
    for gpu in listed:
        about = {"name": gpu.name, "driver": gpu.driver, "p_state": gpu.p_state,
                 "power_w": gpu.power_w, "temperature_c": gpu.temperature_c}  # fmt: skip
        figures |= {f"gpu {gpu.gpu} {k}": v for k, v in about.items() if v is not None}
    for index, line in enumerate(nvidia_smi([*GPU_SETTINGS])):
        figures |= {
            f"gpu {index} {GPU_SETTINGS[k]}": v for k, v in zip(GPU_SETTINGS, line, strict=True)
        }
    if session.device is Device.CUDA:
        figures |= {f"{k} version": v for k, v in cuda_versions().items()}
        for index in range(session.gpus):
            figures[f"torch cuda:{index}"] = torch.cuda.get_device_name(index)
        where = f"{session.gpus} x {torch.cuda.get_device_name(0)}"
    else:
        where = f"{provenance.cpu_model}, {figures['cpus_allowed']} CPUs allowed"
        named = [
            name
            for name, none in GPU_VARIABLES.items()
            if os.environ.get(name, "") not in ("", *none)
        ]
        why = why_no_cuda()
        if why is not None and session.requested is Device.AUTO and (listed or named):
            evidence = f"{len(listed)} GPUs are listed" if listed else f"{named[0]} is set"
            raise WrongError(f"{evidence}, but torch can use none: {why}", figures)
    return Passed(f"torch {torch.__version__}, {where}", figures)


def bandwidth(session: Session) -> Passed:
    """Bandwidth of memory copies, and speed of matrix products in each precision."""
    device = torch.device(session.device.value)
    figures = _copies(device, COPIED[session.device])
    for precision in Precision if device.type == "cuda" else [Precision.FP32]:
        figures[f"product_{precision}_tflop_s"] = _product(device, precision, SIDE[session.device])
    choose_kernels(Precision.FP32, device)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    return Passed(", ".join(f"{name} {value}" for name, value in rounded.items()), rounded)


def _copies(device: torch.device, count: int) -> dict[str, float]:
    """GB/s (1e9 bytes) of copies of ``count`` bytes in the device's memory and from the host."""
    source = torch.ones(count // 4, device=device)
    target = torch.empty_like(source)
    # each byte is read and written
    figures = {"copy_gb_s": 2 * count / 1e9 / median_s(lambda: target.copy_(source), device)}
    if device.type == "cuda":
        in_host = _copies(torch.device("cpu"), COPIED[Device.CPU])
        figures["host_copy_gb_s"] = in_host["copy_gb_s"]
        pinned = torch.ones(count // 4, pin_memory=True)
        sent = median_s(lambda: target.copy_(pinned, non_blocking=True), device)
        figures["host_to_device_gb_s"] = count / 1e9 / sent
    return figures


def _product(device: torch.device, precision: Precision, side: int) -> float:
    """TFLOP/s of a product of square matrices; a multiply-add counts as two operations."""
    choose_kernels(precision, device)
    kind = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    matrix = torch.ones(side, side, device=device, dtype=kind)
    return 2.0 * side**3 / 1e12 / median_s(lambda: matrix @ matrix, device)


REPEATS, UNCOUNTED = 5, 2


def wait(device: torch.device) -> None:
    """Wait until ``device`` has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_s(
    work: Callable[[], object], device: torch.device, ready: Callable[[], object] | None = None
) -> float:
    """The median time of ``work``, s, over :data:`REPEATS`, after uncounted ones.

    ``ready`` is called before each, outside the measured time, and ends with an idle device.
    """
    times = []
    for _ in range(UNCOUNTED + REPEATS):
        if ready is None:
            wait(device)
        else:
            ready()
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return median(times[UNCOUNTED:])
