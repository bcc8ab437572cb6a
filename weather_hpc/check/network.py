"""How fast ranks add up what each of them has: an all-reduce, by the size of the message."""

from typing import Any

import torch
import torch.distributed as dist

from weather_hpc.check.session import Found
from weather_hpc.check.timing import median_s, wait

SIZES = {
    "4b": 4, "1kb": 1_000, "32kb": 32_000, "1mb": 1_000_000, "8mb": 8_000_000, "64mb": 64_000_000,
}  # fmt: skip
"""Bytes of a message, of float32."""

AT_ONCE_BYTES = 20_000_000
"""Small messages are sent often in a row, up to so many bytes, and timed together."""

MOST_AT_ONCE = 20


def all_reduce_s(device: torch.device, group: Any = None) -> dict[str, float]:
    """Seconds of one all-reduce of each of :data:`SIZES`, the median of several. Collective."""
    return {name: _one(size, device, group) for name, size in SIZES.items()}


def _one(size: int, device: torch.device, group: Any) -> float:
    message, tiny = torch.zeros(size // 4, device=device), torch.zeros(1, device=device)
    count = max(1, min(MOST_AT_ONCE, AT_ONCE_BYTES // size))

    def meet() -> None:
        dist.all_reduce(tiny, group=group)
        wait(device)

    def exchange() -> None:
        for _ in range(count):
            dist.all_reduce(message, group=group)

    return median_s(exchange, device, meet) / count


def found(seconds: dict[str, float], device: str, ranks: int, nodes: int) -> Found:
    """Bus bandwidths, 2 (n - 1) / n of the message's bytes a second, and the least latency.

    One rank sends nothing: of it there are times alone.
    """
    figures: dict[str, Any] = {"device": device, "ranks": ranks, "nodes": nodes}
    figures |= {f"time_us_{name}": round(s * 1e6, 2) for name, s in seconds.items()}
    figures["latency_us"] = figures["time_us_4b"]
    if ranks == 1:
        detail = f"one rank has nobody to send to: {figures['latency_us']} us for the call"
        return Found(detail, figures)
    for name, size in SIZES.items():
        figures[f"bus_gb_s_{name}"] = round(2 * (ranks - 1) / ranks * size / seconds[name] / 1e9, 4)
    told = f"{figures['bus_gb_s_64mb']} GB/s at 64 MB, {figures['latency_us']} us at 4 B"
    return Found(told, figures)
