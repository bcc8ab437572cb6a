"""One judgement of a record: what collect rejects, the next sweep makes again."""

from pathlib import Path

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from tests.runs.test_reader import GARBAGE
from weather_hpc.launch.folders import make_ready, record_end
from weather_hpc.launch.watch import current_states
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import with_known_names
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.runs.state import RunState, run_state, run_states
from weather_hpc.study.plan import Plan
from weather_hpc.sweep.forecast import Basis, forecast
from weather_hpc.sweep.run import missing_runs

SPEC = preprocess_spec("multiprocessing", 2)


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_run_with_an_invalid_record_is_made_again(tmp_path: Path, kind: str) -> None:
    paths, plan = StudyPaths(tmp_path), Plan("demo", "/images", None, (SPEC,))
    run = leave(tmp_path, measured(SPEC, 40.0))
    assert run_state(run) is RunState.DONE
    assert missing_runs(plan, paths) == []
    GARBAGE[kind][0](run)
    assert run_states(paths, plan.all) == {SPEC.run_id: RunState.FAILED}
    assert current_states(paths, plan.all, {}) == {SPEC.run_id: RunState.FAILED}
    for only_failed in (False, True):
        assert missing_runs(plan, paths, only_failed=only_failed) == [SPEC]
    found = read_run(run.root)
    assert found.status is Status.FAILED
    costs = forecast([SPEC], [found])
    assert (costs.used, costs.runs[0].basis) == (0, Basis.TIME_LIMIT)
    make_ready(run, SPEC)
    assert run_state(run) is RunState.TODO
    measured(SPEC, 41.0).write(run.record)
    assert run_state(run) is RunState.DONE


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "half"])
def test_why_a_run_was_skipped_replaces_an_invalid_record(tmp_path: Path, kind: str) -> None:
    run = leave(tmp_path, measured(SPEC, 40.0))
    GARBAGE[kind][0](run)
    record_end(StudyPaths(tmp_path), SPEC, Status.SKIPPED, "needs a GPU")
    assert run_state(run) is RunState.SKIPPED


@pytest.mark.parametrize("stage", ["prepare", "predict"])
def test_stages_without_a_measured_time_are_done_without_one(tmp_path: Path, stage: str) -> None:
    spec = preprocess_spec("sequential", 1, stage="prepare")
    if stage == "predict":
        task = {"kind": "predict", "new_images": "/new"}
        spec = type(spec).model_validate(spec.model_dump() | {"stage": stage, "task": task})
    run = leave(tmp_path, RunRecord.of(spec, status=Status.OK))
    assert run_state(run) is RunState.DONE
    record = RunRecord.of(spec, status=Status.OK)
    record.phases.total = -1.0
    record.write(run.record)
    assert run_state(run) is RunState.FAILED


def test_the_other_ends(tmp_path: Path) -> None:
    run = leave(tmp_path, RunRecord.of(train_spec("ddp", 2)))
    for status in Status:
        RunRecord.of(train_spec("ddp", 2), status=status, time_s=1.0).write(run.record)
        done = {Status.OK: RunState.DONE, Status.SKIPPED: RunState.SKIPPED}
        assert run_state(run) is done.get(status, RunState.FAILED)
    run.record.unlink()
    assert run_state(run) is RunState.TODO
    run.exit.write_text('{"code": 1}')
    assert run_state(run) is RunState.FAILED


def test_a_record_in_the_folder_of_another_planned_run_names_nothing(tmp_path: Path) -> None:
    other = preprocess_spec("dask", 4)
    plan = Plan("demo", "/images", None, (SPEC, other))
    run = RunPaths(StudyPaths(tmp_path).runs / SPEC.run_id)
    measured(other, 3.0).write(run.record)
    known = with_known_names(StudyPaths(tmp_path), plan)
    assert [spec.run_id for spec in known.runs] == [SPEC.run_id, other.run_id]
    assert run_states(StudyPaths(tmp_path), plan.runs)[SPEC.run_id] is RunState.FAILED
