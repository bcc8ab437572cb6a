"""The forecast of node-hours before runs are submitted, and the budget."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc.errors import UserError
from weather_hpc.launch.folders import make_ready
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import earlier_runs
from weather_hpc.slurm import ledger
from weather_hpc.slurm.ledger import Submission
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec
from weather_hpc.sweep.bounds import Bound, other_jobs
from weather_hpc.sweep.forecast import Basis, Estimate, Forecast, check_budget, forecast

HOUR = 3600.0


def ran(folder: Path, spec: RunSpec, hours: float, **changes: Any) -> None:
    """Leave a run of ``spec`` that lasted ``hours``, start-up included."""
    leave(folder, measured(spec, 1.0, phases={"total": hours * HOUR}, **changes))


def forecast_of(folder: Path, spec: RunSpec) -> tuple[float, str]:
    (estimate,) = forecast([spec], earlier_runs(StudyPaths(folder))).runs
    return round(estimate.node_hours, 9), str(estimate.basis)


def test_without_earlier_runs_the_time_limit_counts(tmp_path: Path) -> None:
    two_nodes = train_spec("ddp", 4, resources={"nodes": 2, "time_limit_min": 30})
    assert forecast_of(tmp_path, two_nodes) == (1.0, "time_limit")


def test_each_dask_worker_with_its_own_job_counts_as_a_node(tmp_path: Path) -> None:
    spec = preprocess_spec("dask-jobqueue", 3)
    assert forecast_of(tmp_path, spec) == (4.0, "time_limit")
    ran(tmp_path, spec, 0.1)
    costs = forecast([preprocess_spec("dask-jobqueue", 3, 1)], earlier_runs(StudyPaths(tmp_path)))
    assert costs.node_hours == pytest.approx(0.4)
    assert costs.used == pytest.approx(0.4)


def test_repeats_of_the_same_configuration_give_their_median(tmp_path: Path) -> None:
    for repeat, hours in enumerate((0.1, 0.5, 0.2)):
        ran(tmp_path, preprocess_spec("dask", 2, repeat), hours)
    assert forecast_of(tmp_path, preprocess_spec("dask", 2, 3)) == (0.2, "measured")
    # another time limit is still the same work, and a bound to what it can take
    short = preprocess_spec("dask", 2, 3, resources={"time_limit_min": 6})
    assert forecast_of(tmp_path, short) == (0.1, "measured")


@pytest.mark.parametrize(
    ("spec", "hours"),
    [
        (train_spec("ddp", 8), 0.1),  # more ranks are not assumed to be faster
        (train_spec("ddp", 8, resources={"nodes": 2}), 0.2),
        (train_spec("ddp", 2), 0.2),  # fewer ranks may take longer in proportion
        (train_spec("ddp", 4, task={"epochs": 6}), 0.3),
        (train_spec("ddp", 4, task={"epochs": 1}), 0.1),  # start-up does not get shorter
        (train_spec("ddp", 2, task={"epochs": 4}), 0.4),
    ],
)
def test_another_size_is_not_estimated_faster(tmp_path: Path, spec: RunSpec, hours: float) -> None:
    ran(tmp_path, train_spec("ddp", 4), 0.1)
    assert forecast_of(tmp_path, spec) == (hours, "scaled")


def test_the_nearest_size_is_scaled(tmp_path: Path) -> None:
    ran(tmp_path, train_spec("ddp", 1), 0.8)
    ran(tmp_path, train_spec("ddp", 4), 0.3)
    assert forecast_of(tmp_path, train_spec("ddp", 8)) == (0.3, "scaled")


@pytest.mark.parametrize(
    "other",
    [
        train_spec("ddp", 4, task={"batch_size": 64}),
        train_spec("single", 1),
        train_spec("ddp", 4, task={"images": 50}),
        train_spec("ddp", 4, data="/elsewhere"),
        preprocess_spec("dask", 4),
    ],
)
def test_other_work_is_no_basis(tmp_path: Path, other: RunSpec) -> None:
    ran(tmp_path, train_spec("ddp", 4), 0.1)
    assert forecast_of(tmp_path, other) == (1.0, "time_limit")


def test_failed_runs_are_no_basis_but_count_as_used(tmp_path: Path) -> None:
    ran(tmp_path, preprocess_spec("dask", 2), 0.25, status="failed", reason="no luck")
    late = preprocess_spec("dask", 4, resources={"time_limit_min": 120})
    leave(tmp_path, measured(late, None, status="timeout", reason="late", phases={"total": None}))
    died = leave(
        tmp_path,
        measured(preprocess_spec("dask", 8), None, status="failed", phases={"total": None}),
    )
    died.exit.write_text(json.dumps({"code": 1, "ended_at": "2026-01-01T00:30:00Z"}))
    skipped = measured(preprocess_spec("dask", 16), None, status="skipped", phases={"total": None})
    leave(tmp_path, skipped)
    costs = forecast([preprocess_spec("dask", 2, 1)], earlier_runs(StudyPaths(tmp_path)))
    assert costs.used == pytest.approx(0.25 + 2.0 + 0.5)
    assert costs.node_hours == 1.0


def test_repeated_tries_stay_counted(tmp_path: Path) -> None:
    spec = preprocess_spec("dask", 2)
    run = StudyPaths(tmp_path).run(spec.run_id)
    ran(tmp_path, spec, 0.25, status="failed", reason="no luck")
    make_ready(run, spec)
    assert not run.record.exists()
    measured(spec, 1.0, phases={"total": 0.5 * HOUR}).write(run.record)
    make_ready(run, spec)
    make_ready(run, spec)
    assert forecast([], earlier_runs(StudyPaths(tmp_path))).used == pytest.approx(0.75)
    run.earlier_tries.write_text('{"node_hours": NaN}')
    assert forecast([], earlier_runs(StudyPaths(tmp_path))).used == 0.0


def test_the_forecast_as_text_and_json(tmp_path: Path) -> None:
    ran(tmp_path, preprocess_spec("dask", 2), 0.25)
    specs = [preprocess_spec("dask", 2, 1), preprocess_spec("multiprocessing", 2)]
    costs = forecast(specs, earlier_runs(StudyPaths(tmp_path)), [preprocess_spec("dask", 2, 2)])
    assert str(costs) == (
        "forecast: about 0.25 node-hours for 1 of 2 runs by earlier runs; the other 1 at most 1 by "
        "their time limits; all at most 2; 0.5 used or queued here"
    )
    assert costs.as_dict() == {
        "node_hours": 1.25, "at_most": 2.0, "used": 0.25, "in_hand": 0.25, "runs": 2,
        "from_earlier": 1, "estimated": 0.25, "not_estimated_at_most": 1.0,
        "bound": 3.25,
    }  # fmt: skip
    assert str(forecast(specs[:1], earlier_runs(StudyPaths(tmp_path)))) == (
        "forecast: about 0.25 node-hours for 1 run by earlier runs (at most 1 by the time limits); "
        "0.25 used or queued here"
    )


def test_without_earlier_runs_the_forecast_is_called_a_limit() -> None:
    short = preprocess_spec("dask", 4, resources={"time_limit_min": 30})
    costs = forecast([preprocess_spec("dask", 2), preprocess_spec("dask", 3)])
    assert str(costs) == (
        "forecast: no earlier run to estimate from; at most 2 node-hours by the time limits "
        "(60 min a run); 0 used or queued here"
    )
    assert "(30 to 60 min a run)" in str(forecast([preprocess_spec("dask", 2), short]))
    assert costs.as_dict()["node_hours"] == 2.0
    assert costs.as_dict()["estimated"] is None
    with pytest.raises(UserError, match="2 runs: no earlier run to estimate from; at most 2 node"):
        check_budget(costs, 1.0)


def limited(spec: RunSpec, minutes: int) -> RunSpec:
    resources = spec.resources.model_copy(update={"time_limit_min": minutes})
    return spec.model_copy(update={"resources": resources})


def costing(minutes: dict[RunSpec, int], **more: Any) -> Forecast:
    """Runs with these time limits, of which each is estimated to take almost no time."""
    return Forecast(
        tuple(Estimate(limited(s, m), 0.001, Basis.MEASURED) for s, m in minutes.items()), **more
    )


def test_a_budget_counts_past_and_queued_runs_at_their_limits() -> None:
    spec, other = preprocess_spec("dask", 2), preprocess_spec("dask", 4)
    active = (Estimate(limited(other, 30), 0.001, Basis.MEASURED),)
    check_budget(costing({spec: 60}, used=0.5, active=active), 2.0)
    check_budget(costing({spec: 60}, used=9.0), None)
    check_budget(costing({}, used=9.0), 2.0)  # nothing is to be submitted
    with pytest.raises(UserError, match="no configuration fits: preprocess-dask-w2"):
        check_budget(costing({spec: 60}, used=0.6, active=active), 2.0)
    with pytest.raises(UserError, match="no configuration fits"):
        check_budget(costing({spec: 60}, used=0.5, active=active, collecting=0.1), 2.0)


def test_the_refusal_names_the_largest_part_that_fits() -> None:
    store = preprocess_spec("multiprocessing", 8, stage="prepare")
    costs: dict[RunSpec, int] = {store: 30}
    for repeat in range(3):
        costs[preprocess_spec("dask", 2, repeat)] = 6
        costs[preprocess_spec("sequential", 1, repeat)] = 6
        costs[train_spec("ddp", 2, repeat)] = 12
        costs[train_spec("single", 1, repeat)] = 120
    with pytest.raises(
        UserError, match=r"--only 'preprocess-\*' would fit \(6 runs, at most 0\.6 "
    ):
        check_budget(costing(costs), 1.2)
    with pytest.raises(
        UserError, match=r"--only 'preprocess-dask-\*' would fit \(3 runs, at most "
    ):
        check_budget(costing(costs), 0.4)
    training = {s: h for s, h in costs.items() if s.stage != "preprocess"}
    with pytest.raises(UserError, match=r"--only 'train-ddp-\*' would fit \(3 runs, at most 1\.1 "):
        check_budget(costing(training), 1.2)
    with pytest.raises(UserError, match="no configuration fits"):
        check_budget(costing(training), 1.0)  # without the store there is no training


@pytest.mark.parametrize(
    ("executor", "slurm", "spec", "hours"),
    [
        ("local", {"max_requeues": 3}, train_spec("ddp", 2), 1.0),
        ("slurm", {"max_requeues": 3}, train_spec("ddp", 2), 4.0),
        ("submitit", {"max_requeues": 3}, train_spec("ddp", 2, resources={"nodes": 2}), 8.0),
        ("slurm", {"max_requeues": 3, "requeue": False}, train_spec("ddp", 2), 1.0),
        ("slurm", {"requeue": False}, preprocess_spec("dask-jobqueue", 3), 4.0),
        # workers are replaced as long as the run goes on, and may outlast a run that is killed
        ("slurm", {"requeue": False, "dask_time_limit_min": 10},
         preprocess_spec("dask-jobqueue", 3), 4.0),
        ("slurm", {"requeue": False, "dask_time_limit_min": 120},
         preprocess_spec("dask-jobqueue", 3), 7.0),
        ("slurm", {"max_requeues": 1}, preprocess_spec("dask-jobqueue", 3), 8.0),
    ],
)  # fmt: skip
def test_at_most_counts_every_try_and_every_job(
    executor: str, slurm: dict[str, Any], spec: RunSpec, hours: float
) -> None:
    bound = Bound.by(executor, SiteProfile.model_validate({"slurm": slurm}))
    costs = forecast([spec], bound=bound)
    assert (costs.at_most, costs.as_dict()["bound"]) == (hours, hours)
    assert (f"requeued up to {slurm.get('max_requeues')} time" in str(costs)) is (
        bound.requeues > 0
    )
    check_budget(costs, hours)
    with pytest.raises(UserError, match="no configuration fits"):
        check_budget(costs, hours - 0.1)


def test_earlier_jobs_that_made_no_run_count_too(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    assert other_jobs(paths) == 0
    for number, about in enumerate(("collect", "check_1node", "check_2node", "8 CPUs")):
        ledger.save(paths, Submission(f"t{number}", "whpc", about, [], "2026-01-01T00:00:00+00:00"))
    assert other_jobs(paths) == 0.5 + 0.25 + 0.5


def test_known_node_hours_of_workers_jobs_count_as_used(tmp_path: Path) -> None:
    spec = preprocess_spec("dask-jobqueue", 3)
    ran(tmp_path, spec, 0.1)
    events = [
        {"event": "workers_submitted", "job_name": "w"},
        {"event": "workers_queued", "job_name": "w"},
        {"event": "worker_jobs_ended",
         "jobs": [{"job_id": str(n), "elapsed_s": 90.0} for n in range(4)]},
    ]  # fmt: skip
    lines = "".join(json.dumps(event) + "\n" for event in events)
    StudyPaths(tmp_path).run(spec.run_id).events.write_text(lines)
    (run,) = earlier_runs(StudyPaths(tmp_path))
    assert run.row.node_hours == pytest.approx(0.2)
    assert forecast([], [run]).used == pytest.approx(0.2)
