"""``--staged``: small configurations first, and series with a low efficiency stopped."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave_all, measured, preprocess_spec, train_spec
from tests.sweep.test_sweep_verb import table
from weather_hpc.errors import UserError
from weather_hpc.launch.first_runs import FirstRuns
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import earlier_runs
from weather_hpc.runs.state import RunState
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import PredictTask
from weather_hpc.sweep.staged import StagedJobs, efficiencies, stages, stopped

REPOSITORY = Path(__file__).resolve().parents[2]


def names(specs: list[RunSpec]) -> list[str]:
    return [spec.label for spec in specs]


def test_stages_follow_the_order_of_sizes_in_each_series() -> None:
    specs = [
        train_spec("single", 1),
        train_spec("ddp", 8),
        train_spec("ddp", 2),
        train_spec("ddp", 2, 1),
        train_spec("ddp", 4),
        train_spec("ddp", 4, task={"batch_size": 64}),
        train_spec("ddp", 8, resources={"nodes": 2}),
    ]
    assert [names(stage) for stage in stages(specs)] == [
        [
            "train-single-cpu-w1-b32", "train-ddp-cpu-w2-b32", "train-ddp-cpu-w2-b32",
            "train-ddp-cpu-w4-b64", "train-ddp-cpu-n2-w8-b32",
        ],
        ["train-ddp-cpu-w4-b32"],
        ["train-ddp-cpu-w8-b32"],
    ]  # fmt: skip
    assert stages([]) == []


def test_predictions_are_a_stage_of_their_own_after_all_training() -> None:
    task = PredictTask(new_images="/new")
    predict = RunSpec(study="demo", stage=Stage.PREDICT, task=task, data="/images")
    training = [train_spec("ddp", 2), train_spec("ddp", 4)]
    assert [names(stage) for stage in stages([*training, predict])] == [
        ["train-ddp-cpu-w2-b32"], ["train-ddp-cpu-w4-b32"], ["predict"],
    ]  # fmt: skip
    assert stopped([predict], [], 0.5) == {}


def weak(workers: int) -> RunSpec:
    return preprocess_spec("dask", workers, scaling="weak", task={"images": 50 * workers})


def test_weak_scaling_is_one_series_compared_by_its_rate(tmp_path: Path) -> None:
    assert len(stages([weak(1), weak(2), weak(4)])) == 3
    leave_all(tmp_path, [measured(weak(1), 10.0), measured(weak(2), 12.5)])
    runs = earlier_runs(StudyPaths(tmp_path))
    assert efficiencies(runs) == {1: 1.0, 2: pytest.approx(0.8)}
    assert stopped([weak(4)], runs, 0.7) == {}
    assert list(stopped([weak(4)], runs, 0.9)) == [weak(4).run_id]


TIMES = {1: [10.0, 11.0, 10.0], 2: [9.0, 8.0, 80.0], 4: [7.0]}


def test_a_series_stops_at_the_largest_size_measured(tmp_path: Path) -> None:
    specs = {w: preprocess_spec("dask", w) for w in (1, 2, 4, 8)}
    leave_all(
        tmp_path,
        [
            measured(preprocess_spec("dask", workers, repeat), time_s)
            for workers, times in TIMES.items()
            for repeat, time_s in enumerate(times)
        ],
    )
    runs = earlier_runs(StudyPaths(tmp_path))
    assert efficiencies(runs) == {1: 1.0, 2: pytest.approx(10 / 18), 4: pytest.approx(10 / 28)}
    assert stopped(specs.values(), runs, 0.3) == {}
    assert stopped(specs.values(), runs, 0.5) == {
        specs[8].run_id: "efficiency 0.36 at 4 workers is under the floor 0.5"
    }
    assert stopped(specs.values(), runs, 0.6) == {
        specs[4].run_id: "efficiency 0.56 at 2 workers is under the floor 0.6",
        specs[8].run_id: "efficiency 0.36 at 4 workers is under the floor 0.6",
    }
    assert stopped([preprocess_spec("multiprocessing", 8)], runs, 1.0) == {}


def test_failed_runs_stop_no_series(tmp_path: Path) -> None:
    """The baseline is the smallest size that was measured, not one that failed."""
    leave_all(
        tmp_path,
        [
            measured(train_spec("ddp", 1), None, status="failed", reason="no luck"),
            measured(train_spec("ddp", 2), 10.0),
            measured(train_spec("ddp", 4), 9.0),
        ],
    )
    runs = earlier_runs(StudyPaths(tmp_path))
    assert efficiencies(runs) == {2: 1.0, 4: pytest.approx(10 / 18)}
    assert stopped([train_spec("ddp", 4)], runs, 1.0) == {}
    assert stopped([train_spec("ddp", 8)], runs, 0.6) == {
        train_spec("ddp", 8).run_id: "efficiency 0.56 at 4 ranks is under the floor 0.6"
    }


class FakeExecutor:
    """An executor whose jobs end as ``ends`` says, by stage and number of workers."""

    def __init__(self, paths: StudyPaths, **ends: str) -> None:
        self.paths = paths
        self.ends = ends
        self.submitted: list[list[str]] = []

    def active(self) -> dict[str, Job]:
        return {}

    def leave(self) -> list[int]:
        return []

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        self.submitted.append(names(list(specs)))
        for spec in specs:
            end = self.ends.get(f"{spec.stage}_{spec.workers}", "ok")
            if end == "refused":
                raise UserError("sbatch refuses every job: too large")
            self.paths.run(spec.run_id).root.mkdir(parents=True)
            time_s = 10.0 / spec.workers if end == "ok" else None
            record = measured(spec, time_s, status=end, reason=None if end == "ok" else end)
            record.write(self.paths.run(spec.run_id).record)
        return {}

    def wait(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        return {}


SPECS = [
    preprocess_spec("multiprocessing", 8, stage="prepare"),
    *(preprocess_spec("dask", workers) for workers in (1, 2)),
    *(train_spec("ddp", ranks) for ranks in (1, 2)),
]
FIRST = ["prepare-multiprocessing-w8", "preprocess-dask-w1", "train-ddp-cpu-w1-b32"]
SECOND = ["preprocess-dask-w2", "train-ddp-cpu-w2-b32"]


@pytest.mark.parametrize(
    ("ends", "submitted", "states"),
    [
        ({}, [FIRST, SECOND], ["done"] * 5),
        ({"preprocess_1": "cancelled"}, [FIRST], ["done", "failed", "todo", "done", "todo"]),
        # where the store could not be packed, Slurm itself cancels the jobs that wait for it
        (
            {"prepare_8": "failed", "train_1": "cancelled", "train_2": "failed"},
            [FIRST, SECOND],
            ["failed", "done", "done", "failed", "failed"],
        ),
        (
            {"preprocess_2": "refused"},
            [FIRST, SECOND],
            ["done", "done", "skipped", "done", "skipped"],
        ),
    ],
)
def test_later_stages_are_submitted_unless_jobs_were_cancelled(
    tmp_path: Path, ends: dict[str, str], submitted: list[list[str]], states: list[str]
) -> None:
    paths = StudyPaths(tmp_path)
    executor = FakeExecutor(paths, **ends)
    first_runs = FirstRuns(paths, Plan("s", "/images", SPECS[0], tuple(SPECS[1:])))
    staged = StagedJobs(executor, paths, 0.5, first_runs)
    staged.run(SPECS)
    assert executor.submitted == [FIRST]
    ended = staged.wait(SPECS)
    assert executor.submitted == submitted
    assert [str(ended[spec.run_id]) for spec in SPECS] == states


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A sweep whose runs all take 0.5 s by their records: more workers have no effect."""
    study = {
        "name": "flat", "repeats": 1, "image_size": 32, "synthetic": {"images_per_class": 1},
        "preprocess": [{"backend": "multiprocessing", "workers": [1, 2, 4]}],
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\n"
        f'exec {sys.executable} -m tests.integration.standin "$@"\n'
    )
    python.chmod(0o755)
    site = {"name": "t", "python": str(python), "oversubscribe": True}
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    results = tmp_path / "results"
    results.mkdir()
    (results / "behave.json").write_text("{}")
    return [
        "--study", str(tmp_path / "study.yaml"), "--site", str(tmp_path / "site.yaml"),
        "--results", str(results), "--executor", "local",
    ]  # fmt: skip


def sweep(*options: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "weather_hpc.sweep", *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def statuses(results: Path) -> dict[int, Any]:
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/record.json")]
    return {record["spec"]["task"]["workers"]: record["status"] for record in records}


def test_a_stopped_series_resumes_with_a_lower_floor(options: list[str], tmp_path: Path) -> None:
    reason = "efficiency 0.50 at 2 workers is under the floor 0.6"
    results = tmp_path / "results"
    done = sweep(*options, "--staged", "--efficiency-floor", "0.6")
    assert f"skipped ({reason})" in done.stderr
    assert statuses(results) == {1: "ok", 2: "ok", 4: "skipped"}
    rejects = {row["run_id"].split("-")[2]: row for row in table(results / "rejects.csv")}
    assert (rejects["w4"]["status"], rejects["w4"]["reason"]) == ("skipped", reason)
    assert reason in (results / "report.html").read_text()
    assert not list(results.glob("runs/*-w4-*/starts"))

    again = sweep(*options, "--staged", "--efficiency-floor", "0.6", "--dry-run", "--json")
    shown = json.loads(again.stdout.splitlines()[-1])
    assert [row["skipped"] for row in shown["runs"]] == [reason]
    assert shown["forecast"]["runs"] == 0

    sweep(*options, "--staged", "--efficiency-floor", "0.5")
    assert statuses(results) == {1: "ok", 2: "ok", 4: "ok"}
    starts = [len(path.read_text().splitlines()) for path in results.glob("runs/*/starts")]
    assert starts == [1, 1, 1]
