"""Whatever a run folder holds, it is a line of a table or of the rejects, and nothing crashes."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, leave_all, measured, preprocess_spec, train_spec
from weather_hpc.collect.duplicates import without_duplicates
from weather_hpc.collect.pipeline import collect_study
from weather_hpc.collect.sources import find_runs, read_runs
from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import save_plan
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.plan import Plan

pytestmark = pytest.mark.usefixtures("undrawn_plots")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _edit(run: RunPaths, **changes: Any) -> None:
    run.record.write_text(json.dumps(json.loads(run.record.read_text()) | changes))


def _edit_ranks(run: RunPaths, **changes: Any) -> None:
    actual = json.loads(run.record.read_text())["actual"]
    _edit(run, actual=actual | {"ranks": [rank | changes for rank in actual["ranks"]]})


def _replace_by_folder(run: RunPaths) -> None:
    run.record.unlink()
    run.record.mkdir()


def _replace_by_pipe(run: RunPaths) -> None:
    run.record.unlink()
    os.mkfifo(run.record)


def _ask_for_infinity(run: RunPaths) -> None:
    spec = train_spec("single", 1).model_dump(mode="json")
    spec["task"]["learning_rate"] = float("inf")
    _edit(run, spec=spec)


GARBAGE: dict[str, tuple[Callable[[RunPaths], object], str]] = {
    "empty": (lambda r: r.record.write_bytes(b""), "not JSON"),
    "half": (lambda r: r.record.write_text(r.record.read_text()[:200]), "not JSON"),
    "nested": (lambda r: r.record.write_text("[" * 100_000), "not JSON"),
    "not UTF-8": (lambda r: r.record.write_bytes(b'{"a": "\xff\xfe"}'), "not JSON"),
    "a list": (lambda r: r.record.write_text("[]"), "schema_version None found"),
    "a later version": (lambda r: _edit(r, schema_version=99), "schema_version 99 found"),
    "a missing field": (lambda r: _edit(r, spec=None), "record.json: spec: "),
    "an unknown field": (lambda r: _edit(r, surprise=1), "record.json: surprise: "),
    "NaN": (lambda r: _edit(r, time_s=float("nan")), "record.json: time_s: "),
    "infinity": (
        lambda r: r.record.write_text(r.record.read_text().replace("40.0", "1e999", 1)),
        "record.json: time_s: ",
    ),
    "an infinite setting": (_ask_for_infinity, "record.json: spec.task.train.learning_rate: "),
    "no time": (lambda r: _edit(r, time_s=None), "time_s: is missing"),
    "no duration": (lambda r: _edit(r, time_s=0), "time_s: 0 s is too short"),
    "a negative time": (
        lambda r: _edit(r, time_s=-3.0),
        "time_s: expected a value from 0 to 1e+15",
    ),
    "a huge time": (lambda r: _edit(r, time_s=1e300), "time_s: expected a value from 0"),
    "a huge count": (
        lambda r: _edit(r, counts={"images": 10**400}),
        "counts.images: expected a value from 0",
    ),
    "huge resources": (
        lambda r: r.record.write_text(
            r.record.read_text().replace('"nodes": 1,\n      "cpus', f'"nodes": {10**400}, "cpus')
        ),
        "record.json: is of another run than spec.json: nodes",
    ),
    "endless digits": (
        lambda r: r.record.write_text(r.record.read_text().replace("40.0", "9" * 5000, 1)),
        "not JSON",
    ),
    "a rank below 0": (
        lambda r: _edit_ranks(r, rank=-1),
        "actual.ranks.0.rank: expected a value from 0",
    ),
    "huge seconds of a rank": (
        lambda r: _edit_ranks(r, communication_s=1e300),
        "actual.ranks.0.communication_s: expected a value from 0",
    ),
    "a rank that computed longer than the run took": (
        lambda r: _edit_ranks(r, computation_s=50.0),
        "actual.ranks.0.computation_s: 50 s is longer than the whole measured time, 40 s",
    ),
    "a folder": (_replace_by_folder, "record.json: is not a file"),
    "a pipe": (_replace_by_pipe, "record.json: is not a file"),
    "another run": (
        lambda r: measured(preprocess_spec("dask", 4), 3.0).write(r.record),
        "record.json: is of another run than spec.json: backend, workers",
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_rejected_with_file_and_field(tmp_path: Path, kind: str) -> None:
    spoil, message = GARBAGE[kind]
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 80.0))
    run = leave(tmp_path, measured(preprocess_spec("multiprocessing", 2), 40.0))
    spoil(run)
    summary = collect_study(tmp_path)
    (reject,) = read_csv(StudyPaths(tmp_path).rejects)
    assert message in reject["reason"]
    assert str(run.root) in reject["reason"]
    assert (summary["runs"], summary["in_tables"], summary["rejected"]) == (2, 1, 1)


def test_hostile_text_is_written_as_escapes(tmp_path: Path) -> None:
    spec = preprocess_spec("sequential", 1, data="/a\nb\x00\ud800")
    run = RunPaths(StudyPaths(tmp_path).runs / "x")
    run.root.mkdir(parents=True)
    value = measured(spec, 1.0).model_dump(mode="python") | {"run_id": "x"}
    run.record.write_text(json.dumps(value, default=str))
    os.mkdir(os.fsencode(StudyPaths(tmp_path).runs) + b"/\xff\xfe")  # noqa: PTH102
    collect_study(tmp_path)
    rows = read_csv(StudyPaths(tmp_path).rows)
    assert [row["data"] for row in rows if row["run_id"] == "x"] == ["/a b\\x00\\ud800"]
    assert {row["run_id"] for row in rows} == {"x", "\\udcff\\udcfe"}


def test_an_incomplete_record_takes_its_end_from_the_exit_code(tmp_path: Path) -> None:
    record = RunRecord.of(
        train_spec("ddp", 2), reason="the run exited without writing a final record"
    )
    run = leave(tmp_path, record)
    assert (found := read_run(run.root)).status is Status.INCOMPLETE
    assert found.reject == "still running, or exited without writing a final record"
    assert found.ended_at is None
    run.exit.write_text('{"code": 137, "ended_at": "2026-01-01T00:00:00Z"}')
    assert read_run(run.root).row.ended_at == "2026-01-01T00:00:00Z"
    found = read_run(run.root)
    assert found.status is Status.FAILED
    assert found.reject is not None
    assert "SIGKILL" in found.reject
    assert "perhaps out of memory" in found.reject


@pytest.mark.parametrize("text", ["", "[]", '{"code": "1"}', '{"code": 1e9}', '{"code": true}'])
def test_a_broken_exit_file_says_nothing(tmp_path: Path, text: str) -> None:
    run = leave(tmp_path, RunRecord.of(train_spec("ddp", 2)))
    run.exit.write_text(text)
    assert read_run(run.root).status is Status.INCOMPLETE


def test_a_spec_without_a_record(tmp_path: Path) -> None:
    run = leave(tmp_path, measured(preprocess_spec("dask", 2), 1.0))
    run.record.unlink()
    found = read_run(run.root)
    assert found.reject == "never started: spec.json exists, record.json does not"
    assert found.spec == preprocess_spec("dask", 2)
    run.exit.write_text('{"code": 2}')
    assert (found := read_run(run.root)).status is Status.FAILED
    assert found.reject == "exit code 2 before it wrote a record"
    run.stderr.write_bytes(b"x" * 5000 + b"\nTraceback\n\xffImportError: no torch\n\n")
    assert (read_run(run.root).reject or "").endswith(
        rf"a record: \xffImportError: no torch (see {run.stderr})"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "spec.json: not JSON"),
        ("[1]", "spec.json: is not a JSON object"),
        ("{}", "spec.json: study: Field required"),
    ],
)
def test_a_broken_spec_without_a_record(tmp_path: Path, text: str, message: str) -> None:
    run = RunPaths(tmp_path / "runs" / "a")
    run.root.mkdir(parents=True)
    run.spec.write_text(text)
    assert message in (read_run(run.root).reject or "")


def test_an_empty_run_folder_is_not_dropped(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (run,) = read_runs(find_runs([tmp_path]))
    assert run.row.run_id == "a"
    assert "neither spec.json nor record.json" in (run.row.reason or "")


def test_the_unmeasured_stage_is_rejected_by_name(tmp_path: Path) -> None:
    run = leave(tmp_path, measured(preprocess_spec("sequential", 1, stage="prepare"), 3.0))
    assert read_run(run.root).reject == "stage prepare is not measured"


def test_planned_runs_that_never_left_a_folder(tmp_path: Path) -> None:
    done, missing = preprocess_spec("sequential", 1), preprocess_spec("dask", 2)
    save_plan(StudyPaths(tmp_path), Plan("demo", "/images", None, (done, missing)))
    leave(tmp_path, measured(done, 1.0))
    found = {run.row.run_id: run.row.reason for run in read_runs(find_runs([tmp_path]))}
    assert found == {done.run_id: None, missing.run_id: "planned, never started"}


def test_a_broken_plan_is_told(tmp_path: Path) -> None:
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 1.0))
    StudyPaths(tmp_path).plan.write_text("{")
    _, plan = read_runs(find_runs([tmp_path]))
    assert plan.row.run_id == "plan.json"
    assert "not a plan of this version" in (plan.row.reason or "")


def test_a_run_counts_once(tmp_path: Path) -> None:
    record = measured(preprocess_spec("sequential", 1), 2.0)
    copied = measured(preprocess_spec("dask", 2), 3.0)
    as_other = copied.model_copy(
        update={"spec": preprocess_spec("dask", 4), "run_id": preprocess_spec("dask", 4).run_id}
    )
    again = measured(preprocess_spec("sequential", 1), 2.5)
    leave_all(tmp_path / "a", [record, copied, as_other])
    leave_all(tmp_path / "b", [again])
    found = find_runs([tmp_path / "a", tmp_path / "b", tmp_path])
    rows = [reading.row for reading in without_duplicates(list(read_runs(found)))]
    assert len(rows) == 4
    reasons = [row.reason for row in rows if row.reason]
    assert len(reasons) == 2
    assert any("same content as" in reason for reason in reasons)
    assert any("the same configuration and repeat as" in reason for reason in reasons)


def test_runs_are_found_from_any_folder_above_or_at_them(tmp_path: Path) -> None:
    run = leave(tmp_path / "study", measured(preprocess_spec("sequential", 1), 1.0))
    for path in (tmp_path, tmp_path / "study", tmp_path / "study" / "runs", run.root):
        assert find_runs([path]).runs == (run.root,)


def test_a_path_without_runs_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_runs([tmp_path / "missing"])
    with pytest.raises(UserError, match="holds no runs"):
        find_runs([tmp_path])
