"""Allocations: read from the command line and from runs, compared and named."""

from dataclasses import replace

import pytest

from tests.analysis.rows_maker import ddp, packing
from weather_hpc.analysis.allocation import Allocation
from weather_hpc.analysis.groups import group_rows
from weather_hpc.errors import UserError
from weather_hpc.runs.row import Row


def needed(rows: list[Row]) -> Allocation | None:
    (group,) = group_rows(rows)
    return Allocation.needed(group)


def test_an_allocation_is_read_in_any_order() -> None:
    whole = Allocation(nodes=2, cpus=8, gpus=4)
    assert Allocation.parse("nodes=2,cpus=8,gpus=4") == whole
    assert Allocation.parse("gpus=4, nodes=2 ,cpus=8") == whole
    assert Allocation.parse("cpus=8") == Allocation(nodes=1, cpus=8, gpus=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown name ''"),
        ("cpu=8", "unknown name 'cpu'; did you mean 'cpus'?"),
        ("8", "unknown name '8'; known: nodes, cpus, gpus"),
        ("gpus=1", "cpus is missing; expected nodes=1,cpus=8,gpus=2"),
        ("cpus=8,cpus=9", "cpus is given twice"),
        ("cpus=many", "cpus: expected a whole number"),
        ("cpus=-1", "cpus: expected a whole number"),
        ("cpus=1.5", "cpus: expected a whole number"),
        ("cpus=٣", "cpus: expected a whole number"),
        ("cpus=" + "9" * 30, "cpus: expected a whole number"),
        ("cpus=0", "cpus: expected 1 or more"),
        ("cpus=1,nodes=0", "nodes: expected 1 or more"),
    ],
)
def test_what_is_no_allocation_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        Allocation.parse(text)
    assert str(error.value).startswith(f"--allocation {text}: {message}")
    assert "\n" not in str(error.value)


def test_what_fits_in_what() -> None:
    small, wide, fast = Allocation(1, 4, 1), Allocation(2, 4, 0), Allocation(1, 2, 2)
    both = Allocation.joined([small, wide, fast])
    assert both == Allocation(2, 4, 2)
    assert all(both.holds(one) for one in (small, wide, fast, both))
    assert not small.holds(wide)
    assert not small.holds(fast)


def test_names() -> None:
    assert str(Allocation(1, 8, 2)) == "8 CPUs and 2 GPUs on 1 node"
    assert str(Allocation(2, 1, 1)) == "1 CPU and 1 GPU on each of 2 nodes"
    assert str(Allocation(1, 16, 0)) == "16 CPUs on 1 node"


def test_runs_need_what_they_asked_for() -> None:
    asked = {"nodes": 2, "cpus_per_node": 4, "gpus_per_node": 2}
    assert needed(ddp(4, [1.0, 1.0], **asked)) == Allocation(2, 4, 2)
    # the GPUs were not there
    assert needed(ddp(4, [1.0], **asked, device_asked="cuda", device="cpu")) == Allocation(2, 4, 0)
    first, second = ddp(4, [1.0, 1.0], **asked)
    assert needed([first, replace(second, cpus_per_node=8)]) == Allocation(2, 8, 2)


@pytest.mark.parametrize("name", ["nodes", "cpus_per_node", "gpus_per_node"])
def test_what_is_not_known_is_not_guessed(name: str) -> None:
    asked = {"nodes": 1, "cpus_per_node": 4, "gpus_per_node": 0}
    assert needed(packing("dask", 4, [1.0], **asked)) == Allocation(1, 4, 0)
    assert needed(packing("dask", 4, [1.0], **asked | {name: None})) is None


def test_workers_in_jobs_of_their_own_fit_in_no_allocation() -> None:
    asked = {"nodes": 1, "cpus_per_node": 1, "gpus_per_node": 0}
    assert needed(packing("dask-jobqueue", 4, [1.0], **asked)) is None
