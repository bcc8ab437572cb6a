"""How many CPUs runs ask for, and what entries and sites may say of it."""

from pathlib import Path
from typing import Any

import pytest

from weather_hpc.errors import UserError
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.cpus import cpus_asked
from weather_hpc.study.plan import make_plan
from weather_hpc.study.site import SiteProfile, load_site
from weather_hpc.study.spec import RunSpec
from weather_hpc.study.tasks import PreprocessTask

DDP = {"strategy": "ddp", "device": "cpu", "world_size": 4, "threads_per_rank": 2}


def runs(stage: str, site: SiteProfile | None = None, **entry: Any) -> tuple[RunSpec, ...]:
    study = {"name": "s", "repeats": 1, stage: [entry]}
    return make_plan(StudyConfig.model_validate(study), "/images", site=site).runs


def multiprocessing(site: SiteProfile | None = None, **entry: Any) -> RunSpec:
    (spec,) = runs("preprocess", site, **{"backend": "multiprocessing", "workers": 16, **entry})
    return spec


@pytest.mark.parametrize(
    ("workers", "each", "cpus"),
    [(16, None, 16), (16, 0.5, 8), (3, 0.5, 2), (1, 0.25, 1), (3, 2, 6), (100, 1.1, 110)],
)
def test_cpus_are_rounded_up_and_at_least_one(workers: int, each: float | None, cpus: int) -> None:
    task = PreprocessTask.model_validate({"backend": "multiprocessing", "workers": workers})
    assert cpus_asked(task, cpus_per_worker=each) == cpus


@pytest.mark.parametrize(
    ("entry", "cpus", "gpus"),
    [
        (DDP, 8, 0),
        (DDP | {"cpus_per_worker": 0.5}, 2, 0),
        (DDP | {"cpus_per_worker": 0.5, "nodes": 2}, 1, 0),
        (DDP | {"device": "cuda", "cpus_per_worker": 1}, 4, 4),
        ({"strategy": "dp", "device": "cuda", "world_size": 4, "cpus_per_worker": 0.5}, 2, 4),
    ],
)
def test_ranks_get_their_cpus_on_each_node(entry: dict[str, Any], cpus: int, gpus: int) -> None:
    (spec,) = runs("train", **entry)
    assert spec.resources.cpus_per_node == cpus
    assert spec.resources.gpus_per_node * spec.resources.nodes == gpus


def test_every_stage_takes_both_keys() -> None:
    keys: dict[str, Any] = {"workers": 4, "cpus_per_worker": 0.5, "oversubscribe": True}
    eda = runs("eda", backend="dask", **keys)
    array = runs("array", operation="mean-std", engine="dask-array", **keys)
    for (spec,) in (eda, array):
        assert spec.resources.cpus_per_node == 2
        assert spec.resources.oversubscribe is True


def test_an_entry_goes_before_the_site() -> None:
    site = SiteProfile.model_validate({"cpus_per_worker": 0.25, "oversubscribe": True})
    assert multiprocessing(site).resources.cpus_per_node == 4
    assert multiprocessing(site).resources.oversubscribe is True
    own = multiprocessing(site, cpus_per_worker=1, oversubscribe=False).resources
    assert (own.cpus_per_node, own.oversubscribe) == (16, False)
    plain = multiprocessing().resources
    assert (plain.cpus_per_node, plain.cpus_per_worker) == (16, None)
    assert not plain.oversubscribe


def test_cpus_per_worker_makes_another_configuration_and_oversubscribe_does_not() -> None:
    plain = multiprocessing()
    assert multiprocessing(cpus_per_worker=1).configuration != plain.configuration
    asked = multiprocessing(oversubscribe=True)
    fewer = asked.within(8)
    assert asked.configuration == plain.configuration
    assert fewer.resources.cpus_per_node == 8
    assert (fewer.configuration, fewer.run_id) == (plain.configuration, plain.run_id)
    assert RunSpec.from_dict(fewer.as_dict()) == fewer
    half = multiprocessing(oversubscribe=True, cpus_per_worker=0.5)
    assert half.within(2).key == half.key


def test_only_what_may_be_oversubscribed_and_asks_for_more_gets_fewer_cpus() -> None:
    assert multiprocessing().within(8).resources.cpus_per_node == 16
    asked = multiprocessing(oversubscribe=True)
    assert asked.within(None) is asked
    assert asked.within(16) is asked
    assert asked.within(64) is asked


def test_a_gpu_run_keeps_its_configuration_on_fewer_cpus() -> None:
    (spec,) = runs("train", strategy="ddp", device="cuda", world_size=4, oversubscribe=True)
    assert spec.within(4).resources.cpus_per_node == 4
    assert spec.within(4).key == spec.key


def test_workers_with_a_job_each_have_one_cpu(tmp_path: Path) -> None:
    site = SiteProfile.model_validate({"cpus_per_worker": 2, "oversubscribe": True})
    (spec,) = runs("preprocess", site, backend="dask-jobqueue", workers=4)
    assert spec.resources.cpus_per_node == 1
    (plain,) = runs("preprocess", backend="dask-jobqueue", workers=4)
    assert spec.key == plain.key
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\npreprocess:\n- {backend: dask-jobqueue, workers: 4, cpus_per_worker: 2}\n"
    )
    with pytest.raises(UserError, match=r"preprocess\[0\]: backend dask-jobqueue has no cpus_per"):
        load_study(str(path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("cpus_per_worker: 0", "input should be greater than 0, not 0"),
        ("cpus_per_worker: -0.5", "input should be greater than 0, not -0.5"),
        ("cpus_per_worker: two", "input should be a valid number, not 'two'"),
        ("cpus_per_worker: true", "input should be a valid number, not True"),
        ("cpus_per_worker: .inf", "input should be a finite number, not inf"),
        ("oversubscribe: some", "input should be a valid boolean, not 'some'"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    key = line.partition(":")[0]
    study, site = tmp_path / "study.yaml", tmp_path / "site.yaml"
    study.write_text(f"name: s\npreprocess:\n- backend: multiprocessing\n  workers: 4\n  {line}\n")
    site.write_text(f"name: s\n{line}\n")
    with pytest.raises(UserError) as caught:
        load_study(str(study))
    assert str(caught.value) == f"{study}:5: preprocess[0].{key}: {problem}"
    with pytest.raises(UserError) as caught:
        load_site(str(site))
    assert str(caught.value) == f"{site}:2: {key}: {problem}"
