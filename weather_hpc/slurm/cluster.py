"""What a Slurm cluster offers, from ``scontrol show``, and why a run cannot be made on it."""

import re
from dataclasses import dataclass

from weather_hpc.errors import UserError, nearest
from weather_hpc.slurm.client import Slurm
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec

DEFAULT_MAX_ARRAY_SIZE = 1001
OUT_OF_SERVICE = ("DRAIN", "DOWN", "MAINT", "FAIL")


@dataclass(frozen=True)
class Node:
    """One node, as far as asking goes."""

    name: str
    partitions: frozenset[str]
    cpus: int
    gpus: dict[str, int]
    """GPUs by model; a model that the cluster does not name is ''."""
    memory_mb: int
    out_of_service: bool = False
    """Drained, down or under maintenance for now."""

    def gpus_of(self, model: str | None) -> int:
        """GPUs of ``model``, or of any."""
        return sum(self.gpus.values()) if model is None else self.gpus.get(model, 0)


@dataclass(frozen=True)
class Partition:
    """One partition."""

    name: str
    default: bool
    up: bool
    max_time_min: int | None
    """None: without limit."""
    max_nodes: int | None


@dataclass(frozen=True)
class Cluster:
    """A cluster's partitions and nodes, and how large an array may be."""

    partitions: dict[str, Partition]
    nodes: tuple[Node, ...]
    max_array_size: int

    def default(self) -> str | None:
        """The name of the partition that jobs go to which name none."""
        return next((p.name for p in self.partitions.values() if p.default), None)


def ask(slurm: Slurm) -> Cluster:
    """The cluster as it is now. Raises SlurmError or FailedError where it does not answer."""
    nodes = [parse_node(line) for line in slurm("scontrol", "show", "node", "-o").splitlines()]
    partitions = [
        parse_partition(line) for line in slurm("scontrol", "show", "partition", "-o").splitlines()
    ]
    config = slurm("scontrol", "show", "config")
    size = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    return Cluster(
        {p.name: p for p in partitions if p is not None},
        tuple(node for node in nodes if node is not None),
        int(size[1]) if size else DEFAULT_MAX_ARRAY_SIZE,
    )


def fields(line: str) -> dict[str, str]:
    """``A=1 B=2`` as a dict: the first of each key, and of a value its first word."""
    found: dict[str, str] = {}
    for word in line.split():
        name, equals, value = word.partition("=")
        if equals:
            found.setdefault(name, value)
    return found


def parse_node(line: str) -> Node | None:
    """A line of ``scontrol show node -o``; None where it tells of no node."""
    values = fields(line)
    if "NodeName" not in values:
        return None
    return Node(
        name=values["NodeName"],
        partitions=frozenset(values.get("Partitions", "").split(",")) - {""},
        cpus=int(values.get("CPUEfctv", values.get("CPUTot", "0"))),
        gpus=parse_gpus(values.get("Gres", "")),
        memory_mb=int(values.get("RealMemory", "0")),
        out_of_service=any(word in values.get("State", "") for word in OUT_OF_SERVICE),
    )


def parse_gpus(gres: str) -> dict[str, int]:
    """``gpu:a100:4(S:0-1),shard:8`` as ``{'a100': 4}``; without a model ``{'': 4}``."""
    found: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = part.split(":")
        if kind == "gpu" and rest and rest[-1].isdigit():
            model = rest[0] if len(rest) > 1 else ""
            found[model] = found.get(model, 0) + int(rest[-1])
    return found


def parse_partition(line: str) -> Partition | None:
    """A line of ``scontrol show partition -o``; None where it tells of no partition."""
    values = fields(line)
    if "PartitionName" not in values:
        return None
    nodes = values.get("MaxNodes", "UNLIMITED")
    return Partition(
        name=values["PartitionName"],
        default=values.get("Default") == "YES",
        up=values.get("State", "UP") == "UP",
        max_time_min=parse_minutes(values.get("MaxTime", "UNLIMITED")),
        max_nodes=int(nodes) if nodes.isdigit() else None,
    )


def parse_minutes(text: str) -> int | None:
    """``1-02:30:00`` as 1590 minutes, rounded down; None where there is no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def check_partitions(cluster: Cluster, site: SiteProfile) -> None:
    """Raise UserError where the site names a partition that the cluster has not."""
    named = (site.slurm.partition, site.slurm.gpu_partition, site.slurm.cpu_partition)
    for names in filter(None, named):
        for name in names.split(","):
            if cluster.partitions and name not in cluster.partitions:
                raise UserError(
                    f"no partition {name!r} on this cluster{nearest(name, [*cluster.partitions])}"
                )


def largest_node(cluster: Cluster, names: str | None) -> int | None:
    """The most CPUs that a node of the partitions has (None: the default one); None: not told."""
    wanted = set((names or cluster.default() or "").split(","))
    return max((node.cpus for node in cluster.nodes if node.partitions & wanted), default=None)


def skip_reason(spec: RunSpec, cluster: Cluster, site: SiteProfile) -> str | None:
    """Why no node of the run's partition can ever hold ``spec``; None where some can."""
    asked, slurm = spec.resources, site.slurm
    names = slurm.partition_for(asked.gpus_per_node) or cluster.default()
    partitions = [
        cluster.partitions[n] for n in (names or "").split(",") if n in cluster.partitions
    ]
    if not partitions:
        return None
    reasons = [_why_not(spec, partition, cluster, site) for partition in partitions]
    return None if None in reasons else reasons[0]


def _why_not(
    spec: RunSpec, partition: Partition, cluster: Cluster, site: SiteProfile
) -> str | None:
    asked, where = spec.resources, f"partition {partition.name}"
    if not partition.up:
        return f"{where} is not up"
    if partition.max_time_min is not None and asked.time_limit_min > partition.max_time_min:
        return f"asks for {asked.time_limit_min} min; {where} allows {partition.max_time_min} min"
    nodes = [node for node in cluster.nodes if partition.name in node.partitions]
    if not nodes:
        return None
    most = max(node.cpus for node in nodes)
    if asked.cpus_per_node > most:
        return f"asks for {asked.cpus_per_node} CPUs on a node; {where} has at most {most}"
    model = site.slurm.gpu_type if asked.gpus_per_node else None
    most = max(node.gpus_of(model) for node in nodes)
    if asked.gpus_per_node > most:
        kind = f" {model}" if model else ""
        return f"asks for {asked.gpus_per_node}{kind} GPUs on a node; {where} has at most {most}"
    fit = sum(
        node.cpus >= asked.cpus_per_node and node.gpus_of(model) >= asked.gpus_per_node
        for node in nodes
    )
    if partition.max_nodes is not None:
        fit = min(fit, partition.max_nodes)
    if asked.nodes > fit:
        return f"asks for {asked.nodes} nodes; {where} has {fit} that would do"
    return None
