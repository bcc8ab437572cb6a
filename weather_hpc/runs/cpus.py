"""CPUs that a run's workers had: how many together, and whether their threads had to share them."""

from collections import defaultdict
from dataclasses import dataclass

from weather_hpc.runs.record import RankInfo, RunRecord
from weather_hpc.study.tasks import TrainTask
from weather_hpc.text import counted

ASKED_FOR, NOT_ASKED_FOR = "as asked for", "not asked for"
"""Of a run with more threads than CPUs: whether its spec asks for that."""


@dataclass(frozen=True)
class HostCpus:
    """The ranks on one host, those that report their CPUs."""

    host: str
    ranks: tuple[RankInfo, ...]
    threads: tuple[int, ...]
    """Compute threads of each rank."""
    cpus: frozenset[int]
    """The CPUs of all ranks."""
    asked: int | None
    """CPUs that the run asked for on a node, where it asked for fewer than it has threads."""

    @property
    def oversubscribed(self) -> str | None:
        """Whether more threads than CPUs were asked for; None: there are enough CPUs."""
        if len(self.cpus) >= sum(self.threads):
            return None
        fewer = self.asked is not None and self.asked < sum(self.threads)
        return ASKED_FOR if fewer and len(self.cpus) >= (self.asked or 0) else NOT_ASKED_FOR


def more_than_cpus(workers: int, noun: str, threads: int, cpus: int) -> str:
    """``16 workers on 8 CPUs``, ``4 ranks of 2 threads on 2 CPUs``."""
    each = f" of {threads} threads" if threads > 1 else ""
    return f"{counted(workers, noun)}{each} on {counted(cpus, 'CPU')}"


def hosts_of(record: RunRecord) -> list[HostCpus]:
    """The hosts of ``record`` on which ranks report their CPUs."""
    task, resources = record.spec.task, record.spec.resources
    least = task.threads_per_rank if isinstance(task, TrainTask) else 1
    meant = resources.cpus_per_worker is not None or resources.oversubscribe
    hosts: dict[str, list[RankInfo]] = defaultdict(list)
    for rank in record.actual.ranks:
        if rank.cpus is not None:
            hosts[rank.host].append(rank)
    return [
        HostCpus(
            host,
            tuple(ranks),
            tuple(max(least, rank.threads or 1) for rank in ranks),
            frozenset(cpu for rank in ranks for cpu in rank.cpus or []),
            resources.cpus_per_node if meant else None,
        )
        for host, ranks in hosts.items()
    ]


def cpu_columns(record: RunRecord) -> dict[str, int | str | None]:
    """The columns of a row that say which CPUs the workers had."""
    hosts = hosts_of(record)
    found = {host.oversubscribed for host in hosts} - {None}
    return {
        "cpus": sum(len(host.cpus) for host in hosts) or None,
        "oversubscribed": NOT_ASKED_FOR if NOT_ASKED_FOR in found else next(iter(found), None),
    }
