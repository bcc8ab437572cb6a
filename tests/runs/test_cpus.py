"""How many CPUs the workers of a run had, and whether sharing them was asked for."""

from typing import Any

import pytest

from tests.records_maker import measured, preprocess_spec, train_spec
from weather_hpc.runs.cpus import ASKED_FOR, NOT_ASKED_FOR, cpu_columns, hosts_of
from weather_hpc.runs.record import RunRecord

ASKED: dict[str, Any] = {"cpus_per_node": 2, "oversubscribe": True}
HALF: dict[str, Any] = {"cpus_per_node": 2, "cpus_per_worker": 0.5}


def ranks(*cpus: list[int] | None, threads: int = 1, host: str = "n1") -> list[dict[str, Any]]:
    return [
        {"rank": i, "host": host, "pid": 9 + i, "cpus": c, "threads": threads}
        for i, c in enumerate(cpus)
    ]


def workers(count: int, has: list[dict[str, Any]], **resources: Any) -> RunRecord:
    spec = preprocess_spec("multiprocessing", count, resources={"cpus_per_node": count} | resources)
    return measured(spec, 3.0, actual={"ranks": has})


@pytest.mark.parametrize(
    ("record", "cpus", "oversubscribed"),
    [
        (workers(4, ranks([0, 1], [0, 1], [0, 1], [0, 1]), **ASKED), 2, ASKED_FOR),
        (workers(4, ranks([0, 1], [0, 1], [0, 1], [0, 1]), **HALF), 2, ASKED_FOR),
        (workers(4, ranks([0, 1], [0, 1], [0, 1], [0, 1])), 2, NOT_ASKED_FOR),
        # bound to fewer CPUs than the run asked for
        (workers(4, ranks([0], [0], [0], [0]), **ASKED), 1, NOT_ASKED_FOR),
        (workers(4, ranks([0], [0], [0], [0]), oversubscribe=True), 1, NOT_ASKED_FOR),
        # the site allows it, but every worker has its CPU
        (workers(2, ranks([0], [1]), oversubscribe=True), 2, None),
        (workers(2, ranks(None, None), oversubscribe=True), None, None),
        (workers(2, ranks([], []), oversubscribe=True), None, NOT_ASKED_FOR),
        (workers(2, ranks([0]) + ranks([0], host="n2")), 2, None),
    ],
)  # fmt: skip
def test_cpus_and_whether_they_are_shared(
    record: RunRecord, cpus: int | None, oversubscribed: str | None
) -> None:
    assert cpu_columns(record) == {"cpus": cpus, "oversubscribed": oversubscribed}


def test_threads_of_ranks_count() -> None:
    spec = train_spec("ddp", 2, task={"threads_per_rank": 2}, resources=HALF | {"nodes": 1})
    has = ranks([0, 1], [0, 1], threads=2)
    (host,) = hosts_of(measured(spec, 3.0, actual={"ranks": has}))
    assert (sum(host.threads), sorted(host.cpus), host.oversubscribed) == (4, [0, 1], ASKED_FOR)


def test_a_node_of_several_that_is_bound_wrongly_is_named() -> None:
    spec = train_spec("ddp", 4, resources=HALF | {"nodes": 2, "cpus_per_node": 1})
    right, wrong = ranks([0], [0]), ranks([], [], host="n2")
    record = measured(spec, 3.0, actual={"ranks": right + wrong})
    assert [h.oversubscribed for h in hosts_of(record)] == [ASKED_FOR, NOT_ASKED_FOR]
    assert cpu_columns(record) == {"cpus": 1, "oversubscribed": NOT_ASKED_FOR}
