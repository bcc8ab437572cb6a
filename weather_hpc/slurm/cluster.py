"""A Slurm cluster's partitions and nodes, from ``scontrol show``; why a run cannot run there."""

import re
from dataclasses import dataclass

from weather_hpc.errors import UserError, nearest
from weather_hpc.slurm.client import Slurm
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec
from weather_hpc.text import counted

DEFAULT_MAX_ARRAY_SIZE = 1001

OUT_OF_SERVICE = frozenset({
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "MAINT", "MAINTENANCE", "ERROR",
    "UNKNOWN", "FUTURE", "DYNAMIC_FUTURE", "INVAL", "INVALID_REG", "REBOOT_ISSUED", "$", "^",
})  # fmt: skip
"""Words and signs in the state of a node on which no job starts."""

SILENT = frozenset({"NOT_RESPONDING", "*"})
"""The same for a node that does not answer."""

ON_DEMAND = frozenset({
    "POWER", "POWER_DOWN", "POWERED_DOWN", "POWERING_DOWN", "POWERING_UP", "POWER_UP",
    "~", "#", "%", "!",
})  # fmt: skip
"""The same for a node that is off until a job needs it, or booting: it may be silent."""

SLICE = re.compile(r"(?i)\d+g[._-]\d+gb|(?<![a-z])mig(?![a-z])")
"""In the model of a GPU: it is a part of one (MIG), such as ``a100_1g.5gb``."""


@dataclass(frozen=True)
class Node:
    """One node: what jobs can request of it."""

    name: str
    partitions: frozenset[str]
    cpus: int
    gpus: dict[str, int]
    """GPUs by model; the model is '' where the cluster names none."""
    memory_mb: int
    out_of_service: bool = False
    """Whether it is drained, down, silent or under maintenance now."""
    powering_down: bool = False
    """Whether it is being switched off until a job needs it."""

    def gpus_of(self, model: str | None) -> int:
        """GPUs that a run can use together: of ``model``, or of the one with most.

        Models are not mixed in a run. Of the slices of GPUs (MIG) a process sees only one.
        """
        counts = self.gpus if model is None else {model: self.gpus.get(model, 0)}
        usable = (min(n, 1) if SLICE.search(name) else n for name, n in counts.items())
        return max(usable, default=0)


@dataclass(frozen=True)
class Partition:
    """One partition."""

    name: str
    default: bool
    up: bool
    max_time_min: int | None
    """None: no limit."""
    max_nodes: int | None


@dataclass(frozen=True)
class Cluster:
    """A cluster's partitions (by name) and nodes, and the limit of an array's size."""

    partitions: dict[str, Partition]
    nodes: tuple[Node, ...]
    max_array_size: int

    def default(self) -> str | None:
        """The name of the default partition; None where there is none."""
        return next((p.name for p in self.partitions.values() if p.default), None)


def read_cluster(slurm: Slurm) -> Cluster:
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
    """``A=1 B=2`` as a dict: of a repeated key the first value, of a value the first word."""
    values: dict[str, str] = {}
    for word in line.split():
        name, equals, value = word.partition("=")
        if equals:
            values.setdefault(name, value)
    return values


def parse_node(line: str) -> Node | None:
    """A line of ``scontrol show node -o``; None for other lines."""
    values = fields(line)
    if "NodeName" not in values:
        return None
    state = {*re.findall(r"[A-Z_]+|[^\w+]", values.get("State", ""))}  # IDLE*+CLOUD, DOWN~
    return Node(
        name=values["NodeName"],
        partitions=frozenset(values.get("Partitions", "").split(",")) - {""},
        cpus=int(values.get("CPUEfctv", values.get("CPUTot", "0"))),
        gpus=parse_gpus(values.get("Gres", "")),
        memory_mb=int(values.get("RealMemory", "0")),
        out_of_service=bool(state & OUT_OF_SERVICE or (state & SILENT and not state & ON_DEMAND)),
        powering_down=bool(state & {"POWERING_DOWN", "%"}),
    )


def parse_gpus(gres: str) -> dict[str, int]:
    """``gpu:a100:4(S:0-1),shard:8`` as ``{'a100': 4}``; without a model ``{'': 4}``."""
    gpus: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = part.split(":")
        if kind == "gpu" and rest and rest[-1].isdigit():
            model = rest[0] if len(rest) > 1 else ""
            gpus[model] = gpus.get(model, 0) + int(rest[-1])
    return gpus


def parse_partition(line: str) -> Partition | None:
    """A line of ``scontrol show partition -o``; None for other lines."""
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
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


def check_partitions(cluster: Cluster, site: SiteProfile) -> None:
    """Raise UserError where the site names a partition that the cluster does not have."""
    named = (site.slurm.partition, site.slurm.gpu_partition, site.slurm.cpu_partition)
    for names in filter(None, named):
        for name in names.split(","):
            if cluster.partitions and name not in cluster.partitions:
                raise UserError(
                    f"no partition {name!r} on this cluster{nearest(name, [*cluster.partitions])}"
                )


def several_models(cluster: Cluster, site: SiteProfile) -> str | None:
    """A notice where runs with GPUs may get different models, since the site names none."""
    names = (site.slurm.partition_for(1) or cluster.default() or "").split(",")
    models = {m for n in cluster.nodes if n.partitions & {*names} for m in n.gpus}
    if site.slurm.gpu_type is not None or len(models) < 2:
        return None
    listed = ", ".join(model or "unnamed" for model in sorted(models))
    return (
        f"partition {','.join(names)} has GPUs of several models ({listed}): runs may get any of "
        "them; name one as gpu_type in the site"
    )


def largest_node(cluster: Cluster, names: str | None) -> int | None:
    """The largest number of CPUs of a node in the partitions ``names``; None where unknown.

    ``names`` are separated by commas; None: the default partition.
    """
    partitions = set((names or cluster.default() or "").split(","))
    return max((node.cpus for node in cluster.nodes if node.partitions & partitions), default=None)


def most_cpus(spec: RunSpec, cluster: Cluster, site: SiteProfile) -> int | None:
    """The most CPUs that ``spec`` can have on each of its nodes, GPUs being enough; None: unknown.

    Of the partition that has most, where it may run in several.
    """
    resources = spec.resources
    model = site.slurm.gpu_type if resources.gpus_per_node else None
    names = site.slurm.partition_for(resources.gpus_per_node) or cluster.default() or ""
    found = []
    for name in names.split(","):
        cpus = sorted(
            (
                node.cpus
                for node in cluster.nodes
                if name in node.partitions and node.gpus_of(model) >= resources.gpus_per_node
            ),
            reverse=True,
        )
        found += cpus[resources.nodes - 1 : resources.nodes]
    return max(found, default=None)


def skip_reason(spec: RunSpec, cluster: Cluster, site: SiteProfile) -> str | None:
    """Why no node of the run's partition can ever run ``spec``; None where one can."""
    names = site.slurm.partition_for(spec.resources.gpus_per_node) or cluster.default()
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
    resources, where = spec.resources, f"partition {partition.name}"
    if not partition.up:
        return f"{where} is not up"
    limit_min, allowed_min = resources.time_limit_min, partition.max_time_min
    if allowed_min is not None and limit_min > allowed_min:
        return f"asks for {limit_min} min; {where} allows {allowed_min} min"
    nodes = [node for node in cluster.nodes if partition.name in node.partitions]
    if not nodes:
        return None
    most = max(node.cpus for node in nodes)
    if resources.cpus_per_node > most:
        cpus = counted(resources.cpus_per_node, "CPU")
        return f"asks for {cpus} on a node; {where} has at most {most}"
    model = site.slurm.gpu_type if resources.gpus_per_node else None
    most = max(node.gpus_of(model) for node in nodes)
    if resources.gpus_per_node > most:
        gpus = counted(resources.gpus_per_node, f"{model} GPU" if model else "GPU")
        reason = f"asks for {gpus} on a node; {where} has at most {most}"
        listed = max(sum(n.gpus.values()) if model is None else n.gpus.get(model, 0) for n in nodes)
        if listed > most:
            reason += " that one run can use, without slices of GPUs (MIG) and mixed models"
        return reason
    fit = sum(
        node.cpus >= resources.cpus_per_node and node.gpus_of(model) >= resources.gpus_per_node
        for node in nodes
    )
    if partition.max_nodes is not None:
        fit = min(fit, partition.max_nodes)
    if resources.nodes > fit:
        return f"asks for {resources.nodes} nodes; {where} has {fit} that are large enough"
    return None
