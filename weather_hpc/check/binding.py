"""Which CPUs, GPU and network each rank has, and what is wrong with that."""

import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from weather_hpc.check.session import Found, WrongError
from weather_hpc.runs.provenance import node_name

CPUS_OF_NODE = Path("/sys/devices/system/node")
PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Place:
    """Where one rank is. None where it has no GPU, or the system does not tell."""

    rank: int
    host: str
    cpus: tuple[int, ...]
    """Those it may run on."""
    threads: int
    """Those that it computes with."""
    gpu: int | None = None
    """Its number among the GPUs that the process sees."""
    gpu_uuid: str | None = None
    gpu_pci: str | None = None
    gpu_numa_node: int | None = None
    gpu_cpus: tuple[int, ...] = ()
    """The CPUs of that NUMA node."""
    interfaces: str = ""
    """Network interfaces that are up; before them those that ranks were told to meet on."""


def place_of(rank: int, device: torch.device, threads: int) -> Place:
    """Where this process is."""
    told: dict[str, Any] = {}
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        pci, numa = _pci(properties), None
        if pci is not None:
            numa = _numa_node(pci)
        told = {"gpu": device.index, "gpu_uuid": str(properties.uuid), "gpu_pci": pci,
                "gpu_numa_node": numa, "gpu_cpus": _cpus_of(numa)}  # fmt: skip
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    return Place(rank, node_name(), cpus, threads, interfaces=_interfaces(), **told)


def judge(places: Sequence[Place]) -> Found:
    """The map of all ranks. Raises WrongError, with what would be right, where they are in the way
    of each other or far from their GPUs."""
    figures: dict[str, Any] = {}
    for place in places:
        for name, value in asdict(place).items():
            if name not in ("rank", "gpu_cpus") and value not in (None, ()):
                figures[f"rank {place.rank} {name}"] = _short(value)
    wrong = [*_shared_gpus(places), *_crowded(places), *_far_away(places)]
    if wrong:
        raise WrongError("; ".join(wrong), figures)
    hosts = {place.host for place in places}
    detail = "; ".join(
        f"rank {p.rank}: {p.host}, CPUs {_short(p.cpus)}"
        + ("" if p.gpu is None else f", GPU {p.gpu}")
        for p in places
    )
    return Found(f"{len(hosts)} host(s): {detail}", figures)


def _shared_gpus(places: Sequence[Place]) -> list[str]:
    owners: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place in places:
        if place.gpu_uuid is not None:
            owners[place.host, place.gpu_uuid].append(place.rank)
    return [
        f"ranks {_short(ranks)} on {host} share one GPU: start one rank for each GPU of a node"
        for (host, _), ranks in owners.items()
        if len(ranks) > 1
    ]


def _crowded(places: Sequence[Place]) -> list[str]:
    """Hosts whose ranks have fewer CPUs together than they compute with."""
    found = []
    for host in dict.fromkeys(place.host for place in places):
        ranks = [place for place in places if place.host == host]
        cpus = {cpu for place in ranks for cpu in place.cpus}
        needed = sum(place.threads for place in ranks)
        if len(cpus) < needed:
            found.append(
                f"{len(ranks)} ranks on {host} compute with {needed} threads on "
                f"{len(cpus)} CPU(s) ({_short(sorted(cpus))}): ask for {needed} CPUs a node "
                "(--cpus-per-task, for srun too)"
            )
    return found


def _far_away(places: Sequence[Place]) -> list[str]:
    return [
        f"rank {place.rank} on {place.host} runs on CPUs {_short(place.cpus)}, its GPU {place.gpu} "
        f"is on NUMA node {place.gpu_numa_node} with CPUs {_short(place.gpu_cpus)}: bind ranks "
        "near their GPUs (srun --cpu-bind, --gpu-bind=closest)"
        for place in places
        if place.gpu_cpus and not set(place.gpu_cpus) & set(place.cpus)
    ]


def _pci(properties: Any) -> str | None:
    """``0000:3b:00.0``, as /sys names it."""
    parts = [getattr(properties, f"pci_{name}_id", None) for name in ("domain", "bus", "device")]
    if None in parts:
        return None
    domain, bus, device = parts
    return f"{domain:04x}:{bus:02x}:{device:02x}.0"


def _numa_node(pci: str) -> int | None:
    try:
        node = int((PCI / pci / "numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None  # -1: a machine without any


def _cpus_of(numa_node: int | None) -> tuple[int, ...]:
    try:
        text = (CPUS_OF_NODE / f"node{numa_node}" / "cpulist").read_text().strip()
    except OSError:
        return ()
    ranges = (part.split("-") for part in text.split(",") if part)
    return tuple(cpu for ends in ranges for cpu in range(int(ends[0]), int(ends[-1]) + 1))


def _interfaces() -> str:
    told = [f"{name}={os.environ[name]}" for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
            if name in os.environ]  # fmt: skip
    found = []
    for _, name in socket.if_nameindex():
        state = Path("/sys/class/net", name, "operstate")
        if name != "lo" and state.exists() and state.read_text().strip() != "down":
            found.append(name)
    return " ".join([*told, *found])


def _short(value: Any) -> Any:
    """Numbers as ``0-3,8``; anything else as it is."""
    if not isinstance(value, (tuple, list)):
        return value
    parts: list[list[int]] = []
    for number in value:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
