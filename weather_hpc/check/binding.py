"""Which CPUs, GPU and network interfaces each rank has, and what is wrong with that."""

import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from weather_hpc.check.session import Passed, WrongError
from weather_hpc.runs.provenance import node_name

CPUS_OF_NODE = Path("/sys/devices/system/node")
PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Binding:
    """The host, CPUs and GPU of one rank; None without a GPU or where the system has no value."""

    rank: int
    host: str
    cpus: tuple[int, ...]
    """Those that it may run on."""
    threads: int
    """Compute threads."""
    gpu: int | None = None
    """Its index among the GPUs visible to the process."""
    gpu_uuid: str | None = None
    gpu_pci: str | None = None
    gpu_numa_node: int | None = None
    gpu_cpus: tuple[int, ...] = ()
    """The CPUs of that NUMA node."""
    interfaces: str = ""
    """The variables that select an interface, then the network interfaces that are up."""


def binding_of(rank: int, device: torch.device, threads: int) -> Binding:
    """The binding of this process."""
    gpu: dict[str, Any] = {}
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        pci, numa = _pci(properties), None
        if pci is not None:
            numa = _numa_node(pci)
        gpu = {"gpu": device.index, "gpu_uuid": str(properties.uuid), "gpu_pci": pci,
                "gpu_numa_node": numa, "gpu_cpus": _cpus_of(numa)}  # fmt: skip
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    return Binding(rank, node_name(), cpus, threads, interfaces=_interfaces(), **gpu)


def check_bindings(bindings: Sequence[Binding]) -> Passed:
    """The bindings of all ranks.

    Raises WrongError, with what would be right, if ranks compete for CPUs or a GPU or run far from
    their GPUs.
    """
    figures: dict[str, Any] = {}
    for binding in bindings:
        for name, value in asdict(binding).items():
            if name not in ("rank", "gpu_cpus") and value not in (None, ()):
                figures[f"rank {binding.rank} {name}"] = _short(value)
    wrong = [*_shared_gpus(bindings), *_too_few_cpus(bindings), *_far_from_gpus(bindings)]
    if wrong:
        raise WrongError("; ".join(wrong), figures)
    hosts = {binding.host for binding in bindings}
    detail = "; ".join(
        f"rank {p.rank}: {p.host}, CPUs {_short(p.cpus)}"
        + ("" if p.gpu is None else f", GPU {p.gpu}")
        for p in bindings
    )
    return Passed(f"{len(hosts)} host(s): {detail}", figures)


def _shared_gpus(bindings: Sequence[Binding]) -> list[str]:
    owners: dict[tuple[str, str], list[int]] = defaultdict(list)
    for binding in bindings:
        if binding.gpu_uuid is not None:
            owners[binding.host, binding.gpu_uuid].append(binding.rank)
    return [
        f"ranks {_short(ranks)} on {host} share one GPU: start one rank for each GPU of a node"
        for (host, _), ranks in owners.items()
        if len(ranks) > 1
    ]


def _too_few_cpus(bindings: Sequence[Binding]) -> list[str]:
    """Hosts whose ranks together have fewer CPUs than compute threads."""
    wrong = []
    for host in dict.fromkeys(binding.host for binding in bindings):
        ranks = [binding for binding in bindings if binding.host == host]
        cpus = {cpu for binding in ranks for cpu in binding.cpus}
        needed = sum(binding.threads for binding in ranks)
        if len(cpus) < needed:
            wrong.append(
                f"{len(ranks)} ranks on {host} compute with {needed} threads on "
                f"{len(cpus)} CPU(s) ({_short(sorted(cpus))}): ask for {needed} CPUs a node "
                "(--cpus-per-task, for srun too)"
            )
    return wrong


def _far_from_gpus(bindings: Sequence[Binding]) -> list[str]:
    return [
        f"rank {one.rank} on {one.host} runs on CPUs {_short(one.cpus)}, its GPU "
        f"{one.gpu} is on NUMA node {one.gpu_numa_node} with CPUs {_short(one.gpu_cpus)}: bind "
        "ranks near their GPUs (srun --cpu-bind, --gpu-bind=closest)"
        for one in bindings
        if one.gpu_cpus and not set(one.gpu_cpus) & set(one.cpus)
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
    return node if node >= 0 else None  # -1: a machine without NUMA


def _cpus_of(numa_node: int | None) -> tuple[int, ...]:
    try:
        text = (CPUS_OF_NODE / f"node{numa_node}" / "cpulist").read_text().strip()
    except OSError:
        return ()
    ranges = (part.split("-") for part in text.split(",") if part)
    return tuple(cpu for ends in ranges for cpu in range(int(ends[0]), int(ends[-1]) + 1))


def _interfaces() -> str:
    variables = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    selected = [f"{name}={os.environ[name]}" for name in variables if name in os.environ]
    up = []
    for _, name in socket.if_nameindex():
        state = Path("/sys/class/net", name, "operstate")
        if name != "lo" and state.exists() and state.read_text().strip() != "down":
            up.append(name)
    return " ".join([*selected, *up])


def _short(value: Any) -> Any:
    """A sequence of numbers as ``0-3,8``; anything else unchanged."""
    if not isinstance(value, (tuple, list)):
        return value
    parts: list[list[int]] = []
    for number in value:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
