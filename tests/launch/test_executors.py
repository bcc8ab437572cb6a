"""Which partitions runs go to, in a sentence; which CPUs they get where none has enough."""

import os

import pytest

from weather_hpc.launch.executors import destinations, skip_reasons, within
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile

RUNS = make_plan(load_study("quick"), "/images").all
ON_CPUS = [spec for spec in RUNS if not spec.resources.gpus_per_node]


@pytest.mark.parametrize(
    ("partition", "cpu_partition", "sentence"),
    [
        (
            "gpu",
            None,
            (
                "runs with GPUs go to partition gpu, runs on CPUs go to partition gpu; "
                "--cpu-partition NAME sends those on CPUs elsewhere"
            ),
        ),
        ("gpu", "cpu", "runs with GPUs go to partition gpu, runs on CPUs go to partition cpu"),
        (
            None,
            "cpu",
            "runs with GPUs go to the default partition, runs on CPUs go to partition cpu",
        ),
    ],
)
def test_the_partitions_of_runs_are_named(
    partition: str | None, cpu_partition: str | None, sentence: str
) -> None:
    site = SiteProfile().on(partition, cpu_partition)
    assert destinations("slurm", RUNS, site) == sentence
    assert destinations("local", RUNS, site) is None


def test_only_partitions_that_runs_use_are_named() -> None:
    site = SiteProfile().on("gpu", None)
    assert destinations("submitit", ON_CPUS, site) == "runs on CPUs go to partition gpu"
    assert destinations("slurm", [], site) is None


MANY = 4096
"""More CPUs than this machine has."""


def many(**cpus: object) -> Plan:
    entry = {"backend": "multiprocessing", "workers": [1, MANY], **cpus}
    study = {"name": "s", "repeats": 1, "preprocess": [entry]}
    return make_plan(StudyConfig.model_validate(study), "/images")


def test_an_oversubscribed_run_gets_the_cpus_of_this_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = len(os.sched_getaffinity(0))
    plan = many(oversubscribe=True)
    one, more = within("local", plan, SiteProfile()).runs
    assert one is plan.runs[0]
    assert more.resources.cpus_per_node == here
    assert more.key == plan.runs[1].key
    assert capsys.readouterr().err == (
        "oversubscribe: 1 run would need more CPUs than a node has; "
        f"CPUs of the largest node: {here}\n"
    )
    assert within("local", many(), SiteProfile()) == many()
    # so a forecast counts the run
    assert skip_reasons("local", (one, more), SiteProfile()) == {}
    assert list(skip_reasons("local", many().runs, SiteProfile())) == [more.run_id]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("executor", ["slurm", "submitit"])
def test_without_a_cluster_it_is_said_what_the_run_would_get(
    executor: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    plan = many(oversubscribe=True)
    assert within(executor, plan, SiteProfile()) == plan
    assert capsys.readouterr().err == (
        "oversubscribe: a run that asks for more CPUs than a node has gets up to the largest "
        f"node's CPUs; Slurm does not answer here, so scripts ask for up to {MANY}\n"
    )
