"""Node-hours are those of whole jobs, workers' jobs included; empty where a part is not known."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, leave_all, measured, preprocess_spec, train_spec
from weather_hpc.analysis.comparison import compare
from weather_hpc.collect.audit import audit
from weather_hpc.collect.sources import find_runs, read_runs
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.row import Code

SUBMITTED = {"event": "workers_submitted", "job_name": "w"}
QUEUED = {"event": "workers_queued", "job_name": "w"}


def ended(*seconds: Any) -> dict[str, Any]:
    jobs = [{"job_id": str(n), "elapsed_s": each} for n, each in enumerate(seconds)]
    return {"event": "worker_jobs_ended", "job_name": "w", "jobs": jobs}


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([SUBMITTED, QUEUED, ended(30.0, 40.0)], 70.0),
        ([SUBMITTED, QUEUED, ended(30.0, 40.0), SUBMITTED, QUEUED, ended(5)], 75.0),  # two tries
        ([SUBMITTED, QUEUED, ended(30.0, None)], None),
        ([SUBMITTED, QUEUED], None),  # the driver was killed
        ([SUBMITTED, SUBMITTED, QUEUED, ended(30.0)], None),
        ([QUEUED], None),  # of an earlier version
        ([SUBMITTED, QUEUED, ended("x")], None),
        ([SUBMITTED, QUEUED, {"event": "worker_jobs_ended"}], None),
        ([SUBMITTED, QUEUED, ended(True)], None),
    ],
)
@pytest.mark.parametrize("stage", ["preprocess", "eda"])
def test_the_jobs_of_workers_count(
    tmp_path: Path, stage: str, events: list[dict[str, Any]], seconds: float | None
) -> None:
    spec = preprocess_spec("dask-jobqueue", 2)
    if stage == "eda":
        task = {"kind": "eda", "backend": "dask-jobqueue", "workers": 2}
        spec = type(spec).model_validate(spec.model_dump() | {"stage": stage, "task": task})
    run = leave(tmp_path, measured(spec, 10.0))
    run.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    row = read_run(run.root).row
    assert row.worker_jobs_s == seconds
    hours = None if seconds is None else (11 + seconds) / 3600
    assert row.node_hours == (None if hours is None else pytest.approx(hours))
    rows = [reading.row for reading in read_runs(find_runs([tmp_path]))]
    notes = [f.message for f in audit([], compare(rows)) if f.code is Code.ACCOUNTING]
    assert len(notes) == (seconds is None)
    assert all("how long all jobs of its workers took is not known" in note for note in notes)


@pytest.mark.parametrize(
    ("exit_file", "hours"),
    [
        ({"code": 0, "job_s": 90, "restarts": 0}, 180 / 3600),
        ({"code": 0, "job_s": 90, "restarts": 1}, None),  # it knows its last try alone
        ({"code": 0}, 22 / 3600),
        ({"code": 0, "job_s": -1, "restarts": 0}, None),
    ],
)
def test_the_whole_job_of_a_script_counts(
    tmp_path: Path, exit_file: dict[str, Any], hours: float | None
) -> None:
    slurm = {"slurm": {"SLURM_JOB_ID": "17"}}
    spec = train_spec("ddp", 2, resources={"nodes": 2})
    run = leave(tmp_path, measured(spec, 10.0, provenance=slurm))
    run.exit.write_text(json.dumps(exit_file))
    row = read_run(run.root).row
    assert row.node_hours == (None if hours is None else pytest.approx(hours))
    assert row.slurm_job_id == "17"


def test_the_cheapest_is_not_one_whose_workers_are_left_out(tmp_path: Path) -> None:
    leave_all(
        tmp_path,
        [
            measured(preprocess_spec("sequential", 1), 30.0),
            measured(preprocess_spec("dask", 2), 20),
        ],
    )
    run = leave(tmp_path, measured(preprocess_spec("dask-jobqueue", 4), 10.0))
    run.events.write_text("".join(json.dumps(e) + "\n" for e in (SUBMITTED, ended(*[15.0] * 4))))
    rows = [reading.row for reading in read_runs(find_runs([tmp_path]))]
    assert min(rows, key=lambda row: row.node_hours or 0).backend == "dask"
