"""Wrong bindings of ranks are reported with what would be right."""

from dataclasses import replace

import pytest

from weather_hpc.check.binding import Binding, check_bindings
from weather_hpc.check.session import WrongError

NEAR = Binding(0, "node1", (0, 1), 1, 0, "GPU-a", "0000:3b:00.0", 0, (0, 1, 2, 3))
OTHER = replace(NEAR, rank=1, cpus=(2, 3), gpu=1, gpu_uuid="GPU-b", gpu_pci="0000:86:00.0")
APART = replace(NEAR, rank=1, host="node2")


def test_ranks_with_a_gpu_and_cpus_each_are_right() -> None:
    result = check_bindings([NEAR, OTHER, replace(NEAR, rank=2, host="node2")])
    assert result.detail.startswith("2 host(s): rank 0: node1, CPUs 0-1, GPU 0; rank 1: node1")
    assert result.figures["rank 1 cpus"] == "2-3"
    assert result.figures["rank 0 gpu_pci"] == "0000:3b:00.0"
    assert "rank 0 gpu_cpus" not in result.figures


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        ([NEAR, replace(OTHER, gpu_uuid="GPU-a")], "ranks 0-1 on node1 share one GPU"),
        ([replace(NEAR, cpus=(0,)), replace(OTHER, cpus=(0,))],
         "2 ranks on node1 compute with 2 threads on 1 CPU(s) (0): ask for 2 CPUs a node"),
        ([replace(NEAR, threads=4)], "1 ranks on node1 compute with 4 threads on 2 CPU(s) (0-1)"),
        ([replace(NEAR, cpus=(8, 9), gpu_numa_node=1)],
         "rank 0 on node1 runs on CPUs 8-9, its GPU 0 is on NUMA node 1 with CPUs 0-3"),
    ],
)  # fmt: skip
def test_wrong_bindings_are_reported_with_what_would_be_right(
    bindings: list[Binding], message: str
) -> None:
    with pytest.raises(WrongError) as wrong:
        check_bindings(bindings)
    assert message in str(wrong.value)
    assert wrong.value.figures["rank 0 host"] == "node1", "all bindings are in the result"


def test_unknown_values_are_left_out() -> None:
    unknown = replace(NEAR, gpu_pci=None, gpu_numa_node=None, gpu_cpus=())
    assert "rank 0 gpu_numa_node" not in check_bindings([unknown, APART]).figures
