"""Study -> plan: which runs, in which order, asking for what."""

from pathlib import Path

import pytest

from weather_hpc.analysis.steps import repeats_needed
from weather_hpc.errors import UserError
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.plan_file import load_plan, save_plan
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import ArrayTask, EdaTask, Engine, Operation, PreprocessTask, TrainTask
from weather_hpc.study.yaml_file import folder


def plan_of(text: dict[str, object], data: str = "/images") -> Plan:
    return make_plan(StudyConfig.model_validate({"name": "s", **text}), data)


def test_the_papers_study_is_there_in_full() -> None:
    """Compared with the configurations of the study's own tables, written out here."""
    study = load_study("paper")
    plan = make_plan(study, "/images")
    first = [spec for spec in plan.runs if spec.repeat == 0]
    preprocess = {
        (s.task.backend.value, s.task.workers) for s in first if isinstance(s.task, PreprocessTask)
    }
    assert preprocess == (
        {("sequential", 1)}
        | {("multiprocessing", n) for n in (1, 2, 4, 8, 16)}
        | {("dask", n) for n in (1, 2, 4, 8)}
    )
    assert [s.resources.cpus_per_node for s in first if s.workers == 16] == [8], "8 cores"
    train = {
        (s.task.strategy.value, s.task.device.value, s.task.world_size, s.task.batch_size)
        for s in first
        if isinstance(s.task, TrainTask)
    }
    assert {("single", "cuda", 1, b) for b in (32, 64, 128, 256)} <= train
    assert {("dp", "cuda", n, b) for n in (2, 4) for b in (64, 128, 256, 512)} <= train
    assert {("ddp", "cuda", n, b) for n in (1, 2, 3, 4) for b in (32, 64, 128, 256)} <= train
    assert {kind for kind, *_ in train} == {"single", "dp", "ddp", "model"}
    assert {("model", device, n, 64) for device in ("cpu", "cuda") for n in (2, 4)} <= train
    assert any(s.task.kind == "train" and s.resources.nodes == 2 for s in first)
    assert {s.task.operation for s in first if isinstance(s.task, ArrayTask)} == set(Operation)
    assert {s.task.engine for s in first if isinstance(s.task, ArrayTask)} == set(Engine)
    explored = {s.task.backend.value for s in first if isinstance(s.task, EdaTask)}
    assert explored == {"sequential", "multiprocessing", "dask"}
    assert any(device == "cpu" for _, device, *_ in train)
    assert study.repeats >= 3
    assert len(plan.runs) == study.repeats * len(first)


@pytest.mark.parametrize("path", sorted(folder("studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_study_makes_a_plan(path: Path) -> None:
    plan = make_plan(load_study(str(path)), "/images")
    assert plan.runs
    assert len({spec.run_id for spec in plan.all}) == len(plan.all)


def test_quick_measures_what_the_tables_promise() -> None:
    labels = {spec.label for spec in make_plan(load_study("quick"), "/i").runs}
    assert labels >= {
        "preprocess-sequential-w1",
        "preprocess-multiprocessing-w2",
        "preprocess-dask-w2",
        "train-single-cpu-w1-b32",
        "train-ddp-cpu-w2-b32",
        "train-single-cuda-w1-b32",
        *(f"train-{s}-cuda-w{n}-b32" for s in ("ddp", "dp", "model") for n in (2, 4)),
    }


def test_quick_has_repeats_enough_for_a_series_of_three_sizes() -> None:
    """With 1, 2 and 4 GPUs two steps are tested together, in each series."""
    assert load_study("quick").repeats >= repeats_needed(2)


def test_repeats_are_interleaved() -> None:
    plan = plan_of(
        {"repeats": 2, "preprocess": [{"backend": "multiprocessing", "workers": [1, 2]}]}
    )
    seen = [(s.task.workers, s.repeat) for s in plan.runs if isinstance(s.task, PreprocessTask)]
    assert seen == [(1, 0), (2, 0), (1, 1), (2, 1)]


def test_a_configuration_written_twice_is_run_once() -> None:
    entry = {"strategy": "single", "device": "cpu"}
    assert len(plan_of({"repeats": 1, "train": [entry, entry]}).runs) == 1


def test_the_store_is_packed_only_for_training() -> None:
    assert plan_of({"preprocess": [{"backend": "sequential"}]}).prepare is None
    prepare = plan_of({"train": [{"strategy": "single"}]}).prepare
    assert prepare is not None
    assert prepare.stage is Stage.PREPARE


def test_weak_scaling_gives_every_worker_the_same_images() -> None:
    plan = make_plan(load_study("weak"), "/images")
    for spec in plan.runs:
        assert spec.task.images == 48 * spec.workers


def test_resources_follow_from_strategy_and_nodes() -> None:
    plan = plan_of(
        {
            "repeats": 1,
            "train": [
                {"strategy": "ddp", "device": "cuda", "world_size": 8, "nodes": 2,
                 "threads_per_rank": 3},
                {"strategy": "dp", "device": "cuda", "world_size": 4},
                {"strategy": "ddp", "device": "cpu", "world_size": 4},
                {"strategy": "model", "device": "cuda", "world_size": 2},
                {"strategy": "single", "device": "cuda"},
            ],
        }
    )  # fmt: skip
    allocated = [(s.resources.nodes, s.resources.cpus_per_node, s.resources.gpus_per_node)
             for s in plan.runs]  # fmt: skip
    assert allocated == [(2, 12, 4), (1, 8, 4), (1, 4, 0), (1, 4, 2), (1, 2, 1)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"strategy": "ddp", "world_size": 3, "nodes": 2}, "is not divisible by 2 nodes"),
        ({"strategy": "single", "world_size": 2}, "strategy single has world_size 1"),
        ({"strategy": "dp", "device": "cpu"}, "strategy dp needs device cuda"),
        ({"strategy": "dp", "device": "cuda", "nodes": 2, "world_size": 2}, "runs on one node"),
        (
            {"strategy": "ddp", "world_size": 3, "batch_size": 32, "batch_mode": "global"},
            "a global batch_size of 32 is not divisible",
        ),
    ],
)
def test_an_entry_that_cannot_be_meant(entry: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        plan_of({"train": [{"strategy": "single"}, entry]})
    assert "train[1]" in str(caught.value)


def test_run_id_is_readable_stable_and_unique_to_what_was_asked() -> None:
    task = TrainTask.model_validate(
        {"strategy": "ddp", "device": "cpu", "world_size": 2, "batch_size": 32, "epochs": 2}
    )
    spec = RunSpec(study="s", stage=Stage.TRAIN, task=task, data="/images")
    assert spec.run_id.startswith("train-ddp-cpu-w2-b32-r0-")
    assert RunSpec.from_dict(spec.as_dict()) == spec
    assert RunSpec.from_dict(spec.as_dict()).run_id == spec.run_id
    other = spec.model_copy(update={"task": task.model_copy(update={"epochs": 3})})
    assert other.run_id != spec.run_id


def test_cpus_beside_those_that_compute_make_no_other_run() -> None:
    """So that what was measured with one CPU a GPU is not measured again."""
    entries = [
        {"strategy": "single", "device": "cuda"},
        {"strategy": "dp", "device": "cuda", "world_size": 4},
        {"strategy": "ddp", "device": "cuda", "world_size": 4, "nodes": 2, "threads_per_rank": 1},
    ]
    runs = plan_of({"repeats": 1, "train": entries}).runs
    for spec, before in zip(runs, (1, 1, 2), strict=True):
        fewer = spec.resources.model_copy(update={"cpus_per_node": before})
        assert fewer != spec.resources
        old = spec.model_copy(update={"resources": fewer})
        assert old.run_id == spec.run_id
        assert old.configuration == spec.configuration, "it is another repeat of the same"
    on_cpu = [{"strategy": "single", "device": "cpu"}]
    (spec,) = plan_of({"repeats": 1, "train": on_cpu}).runs
    more = spec.resources.model_copy(update={"cpus_per_node": 2})
    assert spec.model_copy(update={"resources": more}).run_id != spec.run_id


@pytest.mark.parametrize(
    ("mode", "strategy", "each", "together"),
    [
        ("per-device", "ddp", 32, 128),
        ("global", "ddp", 8, 32),
        ("global", "dp", 8, 32),
        ("per-device", "model", 32, 32),
    ],
)
def test_batch_semantics(mode: str, strategy: str, each: int, together: int) -> None:
    task = TrainTask.model_validate(
        {"strategy": strategy, "device": "cuda", "world_size": 4, "batch_size": 32, "epochs": 1,
         "batch_mode": mode}
    )  # fmt: skip
    assert (task.batch_size_per_device, task.batch_size_global) == (each, together)


def test_a_results_folder_keeps_one_study_on_one_set_of_images(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    plan = make_plan(load_study("quick"), "/images")
    save_plan(paths, plan)
    assert load_plan(paths) == plan
    save_plan(paths, plan)
    with pytest.raises(UserError, match="holds study quick, not weak"):
        save_plan(paths, make_plan(load_study("weak"), "/images"))
    with pytest.raises(UserError, match="holds images /images, not /others"):
        save_plan(paths, make_plan(load_study("quick"), "/others"))
    assert load_plan(paths) == plan


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study has been run here"):
        load_plan(StudyPaths(tmp_path))
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(UserError, match="not a plan of this version"):
        load_plan(StudyPaths(tmp_path))


def test_exploration_and_array_operations_read_the_store() -> None:
    plan = plan_of(
        {
            "eda": [{"backend": ["multiprocessing", "dask"], "workers": [1, 2]}],
            "array": [{"operation": "mean-std", "engine": ["numpy", "dask-array"], "workers": 2}],
        }
    )
    assert plan.prepare is not None
    assert [spec.label for spec in plan.runs if spec.repeat == 0] == [
        "eda-multiprocessing-w1",
        "eda-multiprocessing-w2",
        "eda-dask-w1",
        "eda-dask-w2",
        "array-mean-std-numpy-w2",
        "array-mean-std-dask-array-w2",
    ]
    assert {spec.resources.cpus_per_node for spec in plan.runs} == {1, 2}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"eda": [{"backend": "dask-naive"}]}, "dask-naive is for preprocessing"),
        ({"eda": [{"backend": "sequential", "workers": 2}]}, "sequential has 1 worker"),
        ({"eda": [{"backend": "dask", "augmentation": "paper"}]}, "known: strong"),
    ],
)
def test_what_exploration_cannot_do_is_refused(entries: dict[str, object], reason: str) -> None:
    with pytest.raises((UserError, ValueError), match=reason):
        plan_of(entries)
