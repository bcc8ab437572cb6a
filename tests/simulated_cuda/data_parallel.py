"""What ``nn.DataParallel`` asks of CUDA: to copy tensors to devices and back."""

from typing import Any

import torch
from torch.nn.parallel import comm


def install() -> None:
    """Replace torch's functions by copies of its tensors."""
    replaced: Any = comm
    replaced.broadcast_coalesced = _broadcast
    replaced.reduce_add_coalesced = _add
    replaced.scatter = _scatter
    replaced.gather = _gather


def _device(device: Any) -> torch.device:
    return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)


def _broadcast(tensors: Any, devices: Any, buffer_size: int = 0) -> Any:
    return [[tensor.to(_device(device)) for tensor in tensors] for device in devices]


def _add(inputs: Any, destination: Any = None, buffer_size: int = 0) -> Any:
    to = _device(destination)
    return tuple(sum(tensor.to(to) for tensor in group) for group in zip(*inputs, strict=True))


def _scatter(
    tensor: Any, devices: Any = None, chunk_sizes: Any = None, dim: int = 0, streams: Any = None
) -> Any:
    pieces = tensor.chunk(len(devices), dim)
    return tuple(piece.to(_device(device)) for piece, device in zip(pieces, devices, strict=False))


def _gather(tensors: Any, dim: int = 0, destination: Any = None) -> Any:
    return torch.cat([tensor.to(_device(destination)) for tensor in tensors], dim)
