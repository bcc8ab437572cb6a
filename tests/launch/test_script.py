"""Job scripts: their content, and that a shell reads them as intended."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.records_maker import preprocess_spec
from weather_hpc.errors import UserError
from weather_hpc.launch.script import command_lines, run_script, supervised
from weather_hpc.runs.environment import run_environment
from weather_hpc.runs.inputs import exit_code, job_seconds
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.slurm.directives import quote
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile, SlurmSite
from weather_hpc.study.spec import RunSpec, Stage

ODD = 'it\'s a $(touch pwned) `x` "y" ; & | é *'


def run_named(plan: Plan, start: str) -> RunSpec:
    return next(spec for spec in plan.all if spec.run_id.startswith(start))


def script(start: str, site: SiteProfile | None = None, study: str = "quick") -> str:
    plan = make_plan(load_study(study), "/images")
    spec = run_named(plan, start)
    return run_script(plan, spec, StudyPaths(Path("/results")), site or SiteProfile(python="py"))


@pytest.mark.parametrize(("restarts", "code"), [(0, 0), (2, 0), (3, 1)])
def test_a_job_is_not_requeued_without_end(tmp_path: Path, restarts: int, code: int) -> None:
    """Slurm sets no limit of its own; the exit file has the time since the job's start."""
    run = RunPaths(tmp_path)
    spec = preprocess_spec("dask-jobqueue", 2)  # whose driver is no step of srun
    body = supervised(spec, ["touch", str(tmp_path / "made")], SlurmSite(max_requeues=2))
    env = os.environ | {
        "SLURM_RESTART_COUNT": str(restarts), "SLURM_JOB_START_TIME": str(int(time.time()) - 50),
        "run": str(tmp_path),
    }  # fmt: skip
    assert subprocess.run(["bash", "-c", body], env=env).returncode == code
    assert (tmp_path / "made").exists() is (code == 0)
    assert (exit_code(run.exit), job_seconds(run.exit) is None) == (code, restarts > 0)
    if restarts == 0:
        assert 50 <= (job_seconds(run.exit) or 0) < 110
    if code:
        assert "requeued more than 2 times (the site's max_requeues)" in run.stderr.read_text()


def test_preprocessing_is_a_plain_process_that_discards_its_store() -> None:
    text = script("preprocess-dask-w2")
    assert "py -m weather_hpc.preprocess" in text
    assert "--backend dask" in text
    assert "--workers 2" in text
    assert "--discard" in text
    assert "torch" not in text


def test_the_prepared_store_is_the_one_that_training_reads() -> None:
    plan = make_plan(load_study("quick"), "/images")
    assert f"--out /results/stores/{plan.store_name}" in script("prepare")
    assert f"--store /results/stores/{plan.store_name}" in script("train-single-cpu")


def test_predictions_find_their_network_in_the_results_folder() -> None:
    plan = make_plan(load_study("quick"), "/images", new_images="/new images")
    assert plan.predict is not None
    assert plan.all[-1] is plan.predict
    text = run_script(plan, plan.predict, StudyPaths(Path("/results")), SiteProfile(python="py"))
    assert "py -m weather_hpc.predict" in text
    assert "--best-of /results" in text
    assert f"--run-dir /results/runs/{plan.predict.run_id} '/new images'" in text


@pytest.mark.parametrize("ranks", [1, 2])
def test_torchrun_starts_ddp_with_any_number_of_ranks(ranks: int) -> None:
    text = script(f"train-ddp-cpu-w{ranks}", study="weak")
    assert "-m weather_hpc.train.torchrun" in text
    assert f"--nproc-per-node={ranks}" in text


def test_a_single_process_needs_no_torchrun() -> None:
    assert "torch.distributed" not in script("train-single-cpu")


@pytest.mark.parametrize("name", ["paper", "quick", "weak"])
def test_threads_and_allocator_are_set_for_every_run(name: str) -> None:
    plan = make_plan(load_study(name), "/images")
    for spec in plan.all:
        variables = run_environment(spec, SiteProfile())
        threads = getattr(spec.task, "threads_per_rank", 1)
        assert variables["OMP_NUM_THREADS"] == str(threads)
        assert "MALLOC_TRIM_THRESHOLD_" in variables


def test_site_variables_override_and_its_lines_come_first() -> None:
    site = SiteProfile(
        python="py",
        modules=["gcc/12", "cuda 12"],
        setup=["source /opt/env/activate"],
        environment={"OMP_NUM_THREADS": "7", "NOTE": ODD},
    )
    text = script("train-single-cpu", site)
    assert "export OMP_NUM_THREADS=7" in text
    assert "module load 'cuda 12'" in text
    order = [text.index(part) for part in ("module load gcc/12", "source /opt", "py -m weather")]
    assert order == sorted(order)


def test_special_characters_are_quoted(tmp_path: Path) -> None:
    """The script is run for real with a stand-in interpreter that prints its arguments."""
    results = tmp_path / ODD
    python = tmp_path / "py thon"
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done\necho "$NOTE"\n')
    python.chmod(0o755)
    study = StudyConfig.model_validate(
        {"name": "s", "repeats": 1, "preprocess": [{"backend": "sequential"}]}
    )
    plan = make_plan(study, f"/images {ODD}")
    site = SiteProfile(python=str(python), environment={"NOTE": ODD})
    paths = StudyPaths(results)
    (spec,) = plan.runs
    done = subprocess.run(
        ["bash", "-c", run_script(plan, spec, paths, site)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    printed = paths.run(spec.run_id).stdout.read_text()
    assert f"</images {ODD}>" in printed
    assert printed.endswith(f"{ODD}\n")
    assert not (tmp_path / "pwned").exists()
    assert '"code": 0' in paths.run(spec.run_id).exit.read_text()


def test_the_exit_code_is_written(tmp_path: Path) -> None:
    plan = make_plan(load_study("quick"), "/images")
    paths = StudyPaths(tmp_path)
    spec = plan.runs[0]
    text = run_script(plan, spec, paths, SiteProfile(python="/bin/false"))
    assert subprocess.run(["bash", "-c", text], check=False).returncode == 1
    assert '"code": 1' in paths.run(spec.run_id).exit.read_text()


def test_every_script_of_every_study_is_valid_shell() -> None:
    for name in ("paper", "quick", "weak"):
        plan = make_plan(load_study(name), "/images")
        for spec in {spec.label: spec for spec in plan.all}.values():
            text = run_script(plan, spec, StudyPaths(Path("/r")), SiteProfile())
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_a_line_break_is_an_error() -> None:
    with pytest.raises(UserError, match="line break"):
        quote("a\nb")


def test_each_option_is_on_a_line_of_its_own() -> None:
    assert command_lines(["p", "-m", "x", "--a", "1", "--b"]) == "p -m x \\\n    --a 1 \\\n    --b"


def test_scripts_do_not_depend_on_where_they_are_made() -> None:
    assert script("train-ddp-cpu-w2") == script("train-ddp-cpu-w2")
    assert Stage.TRAIN in script("train-ddp-cpu-w2")
