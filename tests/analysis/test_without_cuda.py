"""On machines without CUDA the shipped studies have one baseline for each series, with one name."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.records_maker import measured
from weather_hpc.analysis.comparison import Comparison, compare
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.runs.row import Row
from weather_hpc.runs.run import Run
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.plan import make_plan
from weather_hpc.study.spec import RunSpec
from weather_hpc.study.tasks import Device, Strategy, TrainTask


def row_without_cuda(spec: RunSpec, fall_back: bool) -> Row:
    """What a run of ``spec`` leaves where torch finds no CUDA; ``fall_back``: to the CPU."""
    task = spec.task
    needs_cuda = isinstance(task, TrainTask) and task.device is not Device.CPU
    only_on_gpus = isinstance(task, TrainTask) and task.strategy is Strategy.DP
    if needs_cuda and (only_on_gpus or not fall_back):
        record, reject = RunRecord.of(spec, status=Status.SKIPPED, reason="no CUDA"), "no CUDA"
        return Run(spec.run_id, Path("x"), Status.SKIPPED, reject, spec, record).row
    time_s = 10.0 / spec.workers + (5.0 if needs_cuda else 0.0)
    return Run(spec.run_id, Path("x"), Status.OK, None, spec, measured(spec, time_s)).row


def compared(study: StudyConfig, fall_back: bool) -> Comparison:
    plan = make_plan(study.model_copy(update={"repeats": 1}), "/images")
    return compare(row_without_cuda(spec, fall_back) for spec in plan.runs)


@pytest.mark.parametrize("fall_back", [False, True])
@pytest.mark.parametrize("name", ["quick", "paper", "accuracy", "weak"])
def test_each_configuration_has_one_baseline_with_a_name_of_its_own(
    name: str, fall_back: bool
) -> None:
    comparison = compared(load_study(name), fall_back)
    for stage in comparison.stages:
        named: dict[tuple[str | None, str], set[int]] = defaultdict(set)
        for one in stage.configurations:
            assert len(one.candidates) <= 1, stage.label(one)
            if one.baseline is not None and one.cells["baseline"] is not None:
                named[one.group.settings.operation, one.cells["baseline"]].add(id(one.baseline))
                assert one.baseline.settings.device_asked == one.group.settings.device_asked
        assert all(len(groups) == 1 for groups in named.values()), named
    labels = [(series.table, series.label) for series in comparison.series]
    assert len(set(labels)) == len(labels)
    problems = {series.problem for series in comparison.series}
    assert problems <= {None, "no run was measured"}


def test_the_default_study_names_the_epochs_of_its_baselines() -> None:
    table = compared(load_study("quick"), fall_back=True).training.table
    baselines = {
        row["baseline"] for row in table.rows if table.workers(row) > 1 and row["baseline"]
    }
    assert len(baselines) == 2
    assert all("epochs" in name for name in baselines)


def test_runs_that_fell_back_are_compared_with_one_that_did_so_too() -> None:
    entries = [
        {"strategy": strategy, "device": device, "world_size": size, "batch_size": 32, "epochs": 1}
        for strategy, size in (("single", 1), ("ddp", 2))
        for device in ("cpu", "cuda")
    ]
    study = StudyConfig.model_validate({"name": "both", "repeats": 1, "train": entries})
    comparison = compared(study, fall_back=True)
    table = comparison.training.table
    found = {table.label(row): (row["baseline"], row["speedup"]) for row in table.rows}
    words = "{} on cpu, {}, batch 32, device_asked {}"
    assert found == {
        words.format("single", "1 rank", "cpu"): ("single on cpu, batch 32, device_asked cpu", 1.0),
        words.format("single", "1 rank", "cuda"): (
            "single on cpu, batch 32, device_asked cuda", 1.0,
        ),
        words.format("ddp", "2 ranks", "cpu"): ("single on cpu, batch 32, device_asked cpu", 2.0),
        words.format("ddp", "2 ranks", "cuda"): (
            "single on cpu, batch 32, device_asked cuda", 1.5,
        ),
    }  # fmt: skip
    assert {s.problem for s in comparison.series} == {None}
    assert len({s.label for s in comparison.series}) == 2
