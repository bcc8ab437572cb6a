"""Values of slurm.json are in the row of the run; missing values stay empty."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, train_spec
from weather_hpc.analysis.groups import group_rows
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.row import Row

SLURM_JSON = {
    "status": "ok", "job_id": "12_3", "name": "whpc-demo", "state": "COMPLETED", "source": "sacct",
    "queue_s": 7.0, "elapsed_s": 1800.0, "nodes": 2, "node_list": "node[1-2]", "cpus": 4,
    "max_rss_mb": 512.5, "restarts": 1, "exit_code": 0,
    "submitted_at": "2026-01-01T00:00:00+00:00", "started_at": "2026-01-01T00:00:09+00:00",
    "ended_at": "2026-01-01T00:30:09+00:00",
}  # fmt: skip


def row_with(root: Path, content: Any, **task: Any) -> Row:
    """The row of a healthy run in ``root`` whose slurm.json holds ``content``."""
    run = leave(root, measured(train_spec("ddp", 2, task=task), 10.0))
    run.slurm.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_run(run.root).row


def test_a_job_reaches_the_row(tmp_path: Path) -> None:
    row = row_with(tmp_path, SLURM_JSON)
    assert (row.slurm_job_id, row.slurm_state, row.slurm_source) == ("12_3", "COMPLETED", "sacct")
    assert (row.queue_s, row.slurm_elapsed_s, row.slurm_max_rss_mb) == (7.0, 1800.0, 512.5)
    assert (row.nodes, row.slurm_node_list, row.restarts) == (2, "node[1-2]", 1)
    assert row.node_hours == 1.0
    times = row.submitted_at, row.slurm_started_at, row.ended_at
    assert times == tuple(SLURM_JSON[f"{name}_at"] for name in ("submitted", "started", "ended"))


def test_missing_values_are_empty_and_not_0(tmp_path: Path) -> None:
    content = {"job_id": "12_3", "state": "COMPLETED", "source": "exit_file"}
    row = row_with(tmp_path, content)
    assert (row.queue_s, row.slurm_elapsed_s, row.slurm_max_rss_mb) == (None, None, None)
    assert (row.submitted_at, row.slurm_started_at, row.ended_at) == (None, None, None)
    # the run's own duration, 11 s on one node, is less than the job's
    assert row.node_hours is None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        json.dumps(SLURM_JSON | {"nodes": -1}),
        json.dumps(SLURM_JSON | {"elapsed_s": "x"}),
    ],
)
def test_garbage_leaves_the_run_as_it_measured_itself(tmp_path: Path, content: str) -> None:
    row = row_with(tmp_path, content)
    assert row.table == "training"
    assert row.slurm_state is None
    assert row.node_hours == pytest.approx(11 / 3600)


@pytest.mark.parametrize(
    ("requested", "note"), [("cuda", "requested cuda, ran on cpu"), ("cpu", None), ("auto", None)]
)
def test_a_device_other_than_requested_is_noted(
    tmp_path: Path, requested: str, note: str | None
) -> None:
    (group,) = group_rows([row_with(tmp_path, {}, device=requested)])
    assert group.note == note


@pytest.mark.parametrize(
    ("slurm", "asked_mb"),
    [
        ({"SLURM_MEM_PER_NODE": "1000"}, 1048.576),  # Slurm's megabytes are MiB
        ({"SLURM_MEM_PER_CPU": "1000"}, 4 * 1048.576),
        ({"SLURM_MEM_PER_NODE": "0"}, None),  # all of the node's
        ({"SLURM_MEM_PER_NODE": "1G"}, None),
        ({}, None),
    ],
)
def test_memory_that_a_job_asked_for(
    tmp_path: Path, slurm: dict[str, str], asked_mb: float | None
) -> None:
    spec = train_spec("ddp", 2, resources={"cpus_per_node": 4, "time_limit_min": 30})
    ranks = [
        {"rank": rank, "host": host, "pid": rank + 1, "memory_peak_mb": 100.0 * (rank + 1)}
        for rank, host in enumerate(("node1", "node1", "node2"))
    ]
    provenance = {"slurm": slurm, "memory_mb": 64_000.0}
    record = measured(spec, 10.0, provenance=provenance, actual={"ranks": ranks})
    row = read_run(leave(tmp_path, record).root).row
    assert row.memory_asked_mb == (None if asked_mb is None else pytest.approx(asked_mb))
    assert (row.ranks_memory_mb, row.host_memory_mb) == (300.0, 64_000.0)
