"""What a cluster offers, from scontrol's text, and what it cannot hold."""

from typing import Any

import pytest

from weather_hpc.errors import UserError
from weather_hpc.slurm.cluster import (
    Cluster,
    check_partitions,
    most_cpus,
    parse_gpus,
    parse_minutes,
    parse_node,
    parse_partition,
    skip_reason,
)
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec


def cluster(max_nodes: str = "UNLIMITED", state: str = "UP") -> Cluster:
    nodes = [
        parse_node(f"NodeName=n{i} CPUTot=16 CPUEfctv=14 Gres=gpu:a100:4(S:0-1) OS=Linux 6 #1 "
                   "RealMemory=32000 Partitions=gpu,all")
        for i in (1, 2)
    ]  # fmt: skip
    nodes.append(parse_node("NodeName=c1 CPUTot=64 Gres=(null) RealMemory=1 Partitions=cpu,all"))
    partitions = [
        parse_partition(
            f"PartitionName={name} Default={'YES' if name == 'cpu' else 'NO'} State={state} "
            f"MaxTime=02:00:00 MaxNodes={max_nodes}"
        )
        for name in ("cpu", "gpu", "all")
    ]
    return Cluster({p.name: p for p in partitions if p}, tuple(n for n in nodes if n), 1001)


def run(*, minutes: int = 60, **train: Any) -> RunSpec:
    study = {"name": "s", "repeats": 1, "time_limit_min": minutes, "train": [train]}
    return make_plan(StudyConfig.model_validate(study), "/images").runs[0]


def site(**slurm: object) -> SiteProfile:
    return SiteProfile.model_validate({"slurm": slurm})


GPUS: dict[str, Any] = {"strategy": "ddp", "device": "cuda"}


@pytest.mark.parametrize(
    ("spec", "slurm", "reason"),
    [
        (run(**GPUS, world_size=4), {"partition": "gpu"}, None),
        (run(**GPUS, world_size=8, nodes=2), {"partition": "gpu"}, None),
        (run(**GPUS, world_size=4), {"partition": "gpu", "gpu_type": "a100"}, None),
        (run(**GPUS, world_size=4), {"partition": "cpu,gpu"}, None),
        (run(**GPUS, world_size=5), {"partition": "gpu"},
         "asks for 5 GPUs on a node; partition gpu has at most 4"),
        (run(**GPUS, world_size=1), {}, "asks for 1 GPU on a node; partition cpu has at most 0"),
        (run(**GPUS, world_size=1), {"partition": "gpu", "gpu_type": "h100"},
         "asks for 1 h100 GPU on a node; partition gpu has at most 0"),
        (run(**GPUS, world_size=3, nodes=3), {"partition": "gpu"},
         "asks for 3 nodes; partition gpu has 2 that are large enough"),
        (run(**GPUS, world_size=3, nodes=3), {"partition": "all"},
         "asks for 3 nodes; partition all has 2 that are large enough"),
        (run(strategy="ddp", device="cpu", world_size=15), {"partition": "gpu"},
         "asks for 15 CPUs on a node; partition gpu has at most 14"),
        (run(strategy="ddp", device="cpu", world_size=15), {"partition": "all"}, None),
        (run(minutes=121, strategy="single", device="cpu"), {"partition": "cpu"},
         "asks for 121 min; partition cpu allows 120 min"),
    ],
)  # fmt: skip
def test_skip_reason(spec: RunSpec, slurm: dict[str, str], reason: str | None) -> None:
    assert skip_reason(spec, cluster(), site(**slurm)) == reason


@pytest.mark.parametrize(
    ("spec", "slurm", "cpus"),
    [
        (run(strategy="ddp", device="cpu", world_size=99), {"partition": "gpu"}, 14),
        (run(strategy="ddp", device="cpu", world_size=99), {"partition": "gpu,cpu"}, 64),
        (run(strategy="ddp", device="cpu", world_size=99), {}, 64),
        # of two nodes the second largest, and of those with GPUs
        (run(strategy="ddp", device="cpu", world_size=99, nodes=3), {"partition": "all"}, 14),
        (run(**GPUS, world_size=4), {"partition": "all"}, 14),
        (run(**GPUS, world_size=4), {"partition": "cpu"}, None),
        (run(strategy="ddp", device="cpu", world_size=4, nodes=4), {"partition": "all"}, None),
    ],
)
def test_the_most_cpus_that_a_run_can_have(
    spec: RunSpec, slurm: dict[str, str], cpus: int | None
) -> None:
    assert most_cpus(spec, cluster(), site(**slurm)) == cpus


def test_an_oversubscribed_run_fits_the_largest_node() -> None:
    entry: dict[str, Any] = {
        "strategy": "ddp", "device": "cpu", "world_size": 99, "oversubscribe": True,
    }  # fmt: skip
    spec, of = run(**entry), site(partition="gpu")
    assert skip_reason(spec, cluster(), of) is not None
    assert skip_reason(spec.within(most_cpus(spec, cluster(), of)), cluster(), of) is None


def test_a_partition_may_be_down_or_small() -> None:
    spec = run(**GPUS, world_size=2, nodes=2)
    assert skip_reason(spec, cluster(state="DOWN"), site(partition="gpu")) == (
        "partition gpu is not up"
    )
    assert skip_reason(spec, cluster(max_nodes="1"), site(partition="gpu")) == (
        "asks for 2 nodes; partition gpu has 1 that are large enough"
    )


def test_an_unknown_partition_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no partition 'gpus' on this cluster; did you mean 'gpu'"):
        check_partitions(cluster(), site(cpu_partition="cpu", gpu_partition="all,gpus"))


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:4", {"": 4}),
        ("gpu:a100:4(S:0-1),gpu:t4:2(S:0),shard:8", {"a100": 4, "t4": 2}),
        ("(null)", {}),
        ("", {}),
    ],
)
def test_gpus(text: str, gpus: dict[str, int]) -> None:
    assert parse_gpus(text) == gpus


@pytest.mark.parametrize(
    ("text", "minutes"), [("1-02:30:00", 1590), ("00:30:59", 30), ("UNLIMITED", None)]
)
def test_minutes(text: str, minutes: int | None) -> None:
    assert parse_minutes(text) == minutes


def test_lines_that_tell_of_no_node() -> None:
    assert parse_node("No nodes in the system") is None
    assert parse_partition("") is None
