"""Runs that cannot be measured on this machine are skipped with the reason."""

import sys
from pathlib import Path

import pytest

from weather_hpc.launch.local_executor import (
    LocalExecutor,
    Machine,
    skip_reason,
    this_machine,
)
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.record import read_record
from weather_hpc.runs.state import RunState
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec

LAPTOP = Machine(cpus=(0, 1), gpus=0, packages=frozenset({"torch", "distributed", "cv2"}))
WORKSTATION = Machine(cpus=(0, 1), gpus=2, packages=LAPTOP.packages)
WITHOUT_TORCH = Machine(cpus=(0, 1), gpus=0, packages=LAPTOP.packages - {"torch"})
WITHOUT_OPENCV = Machine(cpus=(0, 1), gpus=0, packages=LAPTOP.packages - {"cv2"})
WITHOUT_DASK = Machine(cpus=(0, 1), gpus=0, packages=LAPTOP.packages - {"distributed"})
BARE = Machine(cpus=(0, 1), gpus=0, packages=frozenset())


def preprocess(backend: str, workers: int, **cpus: object) -> RunSpec:
    return one({"preprocess": [{"backend": backend, "workers": workers, **cpus}]})


def eda(backend: str, workers: int) -> RunSpec:
    return one({"eda": [{"backend": backend, "workers": workers}]})


def array(engine: str) -> RunSpec:
    return one({"array": [{"operation": "histogram", "engine": engine}]})


def train(**entry: object) -> RunSpec:
    return one({"train": [entry]})


def one(study: dict[str, object]) -> RunSpec:
    config = StudyConfig.model_validate({"name": "s", "repeats": 1, **study})
    (spec,) = make_plan(config, "/images").runs
    return spec


@pytest.mark.parametrize(
    ("spec", "machine", "reason"),
    [
        (preprocess("multiprocessing", 2), LAPTOP, None),
        (preprocess("multiprocessing", 4), LAPTOP, "asks for 4 CPUs; this machine gives 2"),
        (preprocess("dask", 2), BARE, "dask is not installed"),
        (preprocess("dask-jobqueue", 2), LAPTOP, "needs Slurm"),
        (array("numpy"), BARE, None),
        (array("dask-array"), BARE, "dask is not installed"),
        (array("opencv"), BARE, "OpenCV is not installed"),
        (array("opencv"), LAPTOP, None),
        (eda("multiprocessing", 2), LAPTOP, None),
        (eda("dask", 4), LAPTOP, "asks for 4 CPUs; this machine gives 2"),
        (eda("dask-jobqueue", 2), LAPTOP, "needs Slurm"),
        (eda("sequential", 1), WITHOUT_OPENCV, "OpenCV is not installed"),
        (eda("sequential", 1), WITHOUT_TORCH, "torch is not installed"),
        (eda("dask", 2), WITHOUT_DASK, "dask is not installed"),
        (train(strategy="single", device="cpu"), LAPTOP, None),
        (train(strategy="single", device="auto"), LAPTOP, None),
        (train(strategy="single", device="cpu"), BARE, "torch is not installed"),
        (one({"array": [{"operation": "histogram", "engine": "opencv"}]}), BARE, "OpenCV is not"),
        (one({"array": [{"operation": "histogram", "engine": "numpy"}]}), BARE, None),
        (train(strategy="single", device="cuda"), LAPTOP, "asks for 1 CUDA GPU"),
        (train(strategy="dp", device="cuda", world_size=2), LAPTOP, "asks for 2 CUDA GPUs"),
        (train(strategy="ddp", device="cpu", world_size=4), LAPTOP, "asks for 4 CPUs"),
        (train(strategy="ddp", device="cpu", world_size=2, nodes=2), LAPTOP, "asks for 2 nodes"),
        # a cluster is asked for four CPUs; here two ranks use two
        (train(strategy="ddp", device="cuda", world_size=2), WORKSTATION, None),
        (
            train(strategy="ddp", device="cuda", world_size=2, threads_per_rank=2),
            WORKSTATION,
            "asks for 4 CPUs; this machine gives 2",
        ),
    ],
)
def test_skip_reason(spec: RunSpec, machine: Machine, reason: str | None) -> None:
    skipped = skip_reason(spec, machine)
    if reason is None:
        assert skipped is None
    else:
        assert skipped is not None
        assert reason in skipped


def test_more_workers_than_cpus_run_where_that_was_asked_for() -> None:
    asked = preprocess("multiprocessing", 4, oversubscribe=True)
    assert skip_reason(asked, LAPTOP) is None
    assert skip_reason(preprocess("multiprocessing", 4, cpus_per_worker=0.5), LAPTOP) is None
    ranks = train(strategy="ddp", device="cpu", world_size=4, cpus_per_worker=0.5)
    assert skip_reason(ranks, LAPTOP) is None
    more = preprocess("multiprocessing", 2, cpus_per_worker=1.5)
    assert skip_reason(more, LAPTOP) == "asks for 3 CPUs; this machine gives 2"


def test_the_runs_interpreter_counts_gpus() -> None:
    spec = train(strategy="single", device="cuda")
    machine = this_machine([spec], "/bin/false")
    assert machine.cpus
    assert skip_reason(spec, machine) == (
        "asks for 1 CUDA GPU; this machine has 0: /bin/false could not count them: exit code 1"
    )


def test_the_runs_interpreter_says_why_no_gpu_is_usable(tmp_path: Path) -> None:
    """An interpreter whose torch sees no GPU, as on a node whose driver is too old."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nCUDA_VISIBLE_DEVICES= exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    spec = train(strategy="single", device="cuda")
    skipped = skip_reason(spec, this_machine([spec], str(python)))
    assert skipped is not None
    assert skipped.startswith("asks for 1 CUDA GPU; this machine has 0: torch ")
    assert "CUDA_VISIBLE_DEVICES is empty: no GPU is visible" in skipped


def test_skipped_runs_are_recorded_and_each_reason_is_printed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = StudyConfig.model_validate(
        {"name": "s", "repeats": 3, "train": [{"strategy": "ddp", "device": "cpu", "nodes": 2,
                                               "world_size": 2}]}
    )  # fmt: skip
    plan, paths = make_plan(config, "/images"), StudyPaths(tmp_path)
    states = LocalExecutor(plan, paths, SiteProfile()).run(plan.runs)
    assert set(states.values()) == {RunState.SKIPPED}
    assert len(states) == 3
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["skipped 3 runs: asks for 2 nodes; the local executor has one"]
    records = [read_record(paths.run(run_id).record) for run_id in states]
    assert {record.reason for record in records} == {"asks for 2 nodes; the local executor has one"}


def test_why_a_run_failed_is_printed_also_where_its_script_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = StudyConfig.model_validate(
        {"name": "s", "repeats": 2, "preprocess": [{"backend": "sequential"}]}
    )
    plan, paths = make_plan(config, "/images"), StudyPaths(tmp_path)
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "OSError: no luck" >&2\ncase "$*" in *-r0-*) exit 3 ;; esac\n'
        "kill -9 $PPID\n"
    )
    python.chmod(0o755)
    states = LocalExecutor(plan, paths, SiteProfile(python=str(python))).run(plan.runs)
    assert set(states.values()) == {RunState.FAILED}
    first, second = (paths.run(spec.run_id).stderr for spec in plan.runs)
    printed = capsys.readouterr().err.splitlines()
    assert printed[1::2] == [
        f"    exit code 3 before it wrote a record: OSError: no luck (see {first})",
        (
            "    killed by SIGKILL (exit code 137, perhaps out of memory) before it wrote "
            f"a record: OSError: no luck (see {second})"
        ),
    ]
