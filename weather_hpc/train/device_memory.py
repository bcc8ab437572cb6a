"""What steps need of a GPU's memory."""

from collections.abc import Iterable

import torch

from weather_hpc.runs.gpus import BYTES_PER_MB


def working_bytes(device: torch.device) -> int:
    """Bytes that were in use at most, less those that are now: what a step needs for itself."""
    return torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)


def free_bytes(device: torch.device) -> int:
    """Bytes that can be had: nobody's, or this process's own and not in use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def forget_peaks(devices: Iterable[torch.device]) -> None:
    """From here on peaks are those of what follows."""
    for device in devices:
        torch.cuda.reset_peak_memory_stats(device)


def peaks_mb(devices: Iterable[torch.device]) -> list[float]:
    """The most that was in use of each of ``devices``, MB."""
    return [torch.cuda.max_memory_allocated(device) / BYTES_PER_MB for device in devices]
