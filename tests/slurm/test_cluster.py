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
    several_models,
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


@pytest.mark.parametrize(
    ("state", "out_of_service"),
    [
        ("IDLE+CLOUD+POWERED_DOWN", False),
        ("IDLE+CLOUD+POWER", False),
        ("ALLOCATED+CLOUD+POWERING_DOWN", False),
        ("IDLE+CLOUD+DYNAMIC_NORM+NOT_RESPONDING+POWERING_UP", False),
        ("MIXED+CLOUD", False),
        ("IDLE+PLANNED", False),
        ("IDLE~", False),
        ("ALLOCATED#", False),
        ("IDLE%", False),
        ("IDLE!", False),
        ("MIXED-", False),
        ("IDLE*", True),
        ("IDLE+NOT_RESPONDING", True),
        ("DOWN*+CLOUD", True),
        ("DOWN~", True),
        ("IDLE+DRAIN", True),
        ("IDLE+CLOUD+DRAIN+POWERED_DOWN", True),
        ("ALLOCATED$", True),
        ("IDLE+MAINTENANCE+RESERVED", True),
        ("MIXED+FAIL", True),
        ("FUTURE", True),
        ("IDLE+INVALID_REG", True),
    ],
)
def test_a_node_that_boots_on_demand_is_in_service(state: str, out_of_service: bool) -> None:
    node = parse_node(f"NodeName=n1 CPUTot=4 Gres=gpu:t4:1 State={state} Partitions=gpu")
    assert node is not None
    assert node.out_of_service is out_of_service
    assert node.powering_down is (state in {"ALLOCATED+CLOUD+POWERING_DOWN", "IDLE%"})


MIXED_NODE = "NodeName=m CPUTot=64 Gres={} Partitions=gpu,all"


@pytest.mark.parametrize(
    ("gres", "gpus", "together"),
    [
        ("gpu:a100:2,gpu:v100:2", {"a100": 2, "v100": 2}, 2),
        ("gpu:a100_1g.5gb:7", {"a100_1g.5gb": 7}, 1),
        ("gpu:1g.10gb:4,gpu:2g.20gb:2", {"1g.10gb": 4, "2g.20gb": 2}, 1),
        ("gpu:a100:3,gpu:a100_3g.20gb:2(S:0)", {"a100": 3, "a100_3g.20gb": 2}, 3),
        ("gpu:nvidia_h100_80gb_hbm3_1g.10gb+me:7", {"nvidia_h100_80gb_hbm3_1g.10gb+me": 7}, 1),
        ("gpu:nvidia_a100-sxm4-80gb:4(S:0,2),shard:nvidia_a100-sxm4-80gb:16,mps:400",
         {"nvidia_a100-sxm4-80gb": 4}, 4),
        ("lscratch:3200,gpu:a100:4(S:0-3)", {"a100": 4}, 4),
        ("shard:8,mps:400,craynetwork:4", {}, 0),
    ],
)  # fmt: skip
def test_slices_and_models_are_not_added_up(gres: str, gpus: dict[str, int], together: int) -> None:
    node = parse_node(MIXED_NODE.format(gres))
    assert node is not None
    assert (node.gpus, node.gpus_of(None)) == (gpus, together)


@pytest.mark.parametrize(
    ("gres", "gpu_type", "reason"),
    [
        ("gpu:a100:2,gpu:v100:2", None, "asks for 3 GPUs on a node; partition gpu has at most 2"),
        (
            "gpu:1g.10gb:4",
            "1g.10gb",
            "asks for 3 1g.10gb GPUs on a node; partition gpu has at most 1",
        ),
        ("gpu:a100:3,gpu:1g.10gb:4", None, None),
    ],
)
def test_a_run_is_not_spread_over_slices_or_models(
    gres: str, gpu_type: str | None, reason: str | None
) -> None:
    node = parse_node(MIXED_NODE.format(gres))
    partition = parse_partition("PartitionName=gpu Default=YES State=UP")
    assert node is not None
    assert partition is not None
    nodes = Cluster({"gpu": partition}, (node,), 1001)
    of = site(partition="gpu", gpu_type=gpu_type)
    found = skip_reason(run(**GPUS, world_size=3), nodes, of)
    why = " that one run can use, without slices of GPUs (MIG) and mixed models"
    assert found == (None if reason is None else reason + why)
    notice = several_models(nodes, of)
    if gpu_type or gres.count("gpu:") == 1:
        assert notice is None
    else:
        assert notice is not None
        assert "GPUs of several models" in notice
        assert "gpu_type" in notice
