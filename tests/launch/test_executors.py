"""Which partitions runs go to, in a sentence."""

import pytest

from weather_hpc.launch.executors import destinations
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import make_plan
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
