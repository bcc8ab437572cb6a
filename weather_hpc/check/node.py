"""What a node is: versions, driver, GPUs; and what its memory and its arithmetic achieve."""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from weather_hpc.check.session import Found, Session, WrongError
from weather_hpc.runs.gpus import look_at_gpus, nvidia_smi
from weather_hpc.runs.provenance import collect_provenance, node_name
from weather_hpc.study.spec import Device, Precision
from weather_hpc.train.cuda import versions as cuda_versions
from weather_hpc.train.cuda import why_no_cuda
from weather_hpc.train.strategies import choose_kernels

COPIED = {Device.CPU: 256_000_000, Device.CUDA: 1_000_000_000}
"""Bytes of one copy."""

SIDE = {Device.CPU: 1024, Device.CUDA: 8192}
"""Rows and columns of the matrices that are multiplied."""

GIVEN: dict[str, tuple[str, ...]] = {
    "CUDA_VISIBLE_DEVICES": ("-1", "NoDevFiles"), "SLURM_JOB_GPUS": (), "SLURM_STEP_GPUS": (),
    "SLURM_GPUS_ON_NODE": ("0",),
}  # fmt: skip
"""Variables that tell of GPUs which a job was given, and what they say, if not empty, of none."""

SETTINGS = {
    "clocks.max.sm": "largest_clock_mhz", "clocks.max.mem": "largest_memory_clock_mhz",
    "power.limit": "power_limit_w", "mig.mode.current": "mig_mode", "compute_mode": "compute_mode",
}  # fmt: skip
"""How a GPU is set up, as nvidia-smi and as the figures name it."""


def versions(session: Session) -> Found:
    """What computes here. Wrong: there are GPUs, and torch can use none of them."""
    told = collect_provenance()
    figures: dict[str, Any] = {f"{k} version": v for k, v in told.packages.items()}
    figures |= told.slurm | {"host": node_name(), "cpu": told.cpu_model}
    figures["cpus_allowed"] = len(os.sched_getaffinity(0))
    listed = look_at_gpus("start")
    for gpu in listed:
        about = {"name": gpu.name, "driver": gpu.driver, "p_state": gpu.p_state,
                 "power_w": gpu.power_w, "temperature_c": gpu.temperature_c}  # fmt: skip
        figures |= {f"gpu {gpu.gpu} {k}": v for k, v in about.items() if v is not None}
    for index, line in enumerate(nvidia_smi([*SETTINGS])):
        figures |= {f"gpu {index} {SETTINGS[k]}": v for k, v in zip(SETTINGS, line, strict=True)}
    if session.device is Device.CUDA:
        figures |= {f"{k} version": v for k, v in cuda_versions().items()}
        for index in range(session.gpus):
            figures[f"torch cuda:{index}"] = torch.cuda.get_device_name(index)
        where = f"{session.gpus} x {torch.cuda.get_device_name(0)}"
    else:
        where = f"{told.cpu_model}, {figures['cpus_allowed']} CPUs allowed"
        given = [
            name for name, none in GIVEN.items() if os.environ.get(name, "") not in ("", *none)
        ]
        why = why_no_cuda()
        if why is not None and session.asked is Device.AUTO and (listed or given):
            seen = f"{len(listed)} GPUs are listed" if listed else f"{given[0]} is set"
            raise WrongError(f"{seen}, but torch can use none: {why}", figures)
    return Found(f"torch {torch.__version__}, {where}", figures)


def bandwidth(session: Session) -> Found:
    """Copies of memory, and products of matrices in each precision."""
    device = torch.device(session.device.value)
    figures = _copies(device, COPIED[session.device])
    for precision in Precision if device.type == "cuda" else [Precision.FP32]:
        figures[f"product_{precision}_tflop_s"] = _product(device, precision, SIDE[session.device])
    choose_kernels(Precision.FP32, device)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    return Found(", ".join(f"{name} {value}" for name, value in rounded.items()), rounded)


def _copies(device: torch.device, count: int) -> dict[str, float]:
    """GB/s (1e9 bytes) of ``count`` bytes within the device's memory, and from the host's to it."""
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
    """TFLOP/s of a product of square matrices, a multiplication and an addition counting two."""
    choose_kernels(precision, device)
    kind = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    matrix = torch.ones(side, side, device=device, dtype=kind)
    return 2.0 * side**3 / 1e12 / median_s(lambda: matrix @ matrix, device)


REPEATS, UNCOUNTED = 5, 2


def wait(device: torch.device) -> None:
    """Until ``device`` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_s(
    work: Callable[[], object], device: torch.device, ready: Callable[[], object] | None = None
) -> float:
    """The median time of ``work``, s, over :data:`REPEATS` after some that do not count.

    ``ready`` comes before each, outside the time: it ends with a device that has nothing to do.
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
