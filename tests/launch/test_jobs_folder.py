"""jobs/: the scripts are those that the renderer writes, and a shell reads them as intended."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from weather_hpc import cli
from weather_hpc.files import take_lock
from weather_hpc.launch.jobs_folder import by_name, jobs_folder, main
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import make_plan
from weather_hpc.study.site import SiteProfile, SlurmSite
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import TrainTask

JOBS = Path(__file__).resolve().parents[2] / "jobs"
EXTRA = {"preprocess_dask_jobqueue", "collect", "predict", "check_1node", "check_2node"}
"""What the folder has beyond the paper's study."""

PAPER = by_name(
    [
        spec
        for spec in make_plan(load_study("paper"), "").runs
        if spec.repeat == 0 and spec.stage is not Stage.ARRAY
    ]
)


def test_the_folder_is_what_the_renderer_writes() -> None:
    scripts = {path.name: path.read_text() for path in JOBS.iterdir() if path.name != "README.md"}
    assert scripts == jobs_folder(SiteProfile())


def test_every_configuration_of_the_paper_has_its_script() -> None:
    assert {Path(name).stem for name in jobs_folder(SiteProfile())} == {*PAPER, *EXTRA}
    for specs in PAPER.values():
        # runs of one script differ in batch size alone, which its text names
        assert len({_without_batch_size(spec) for spec in specs}) == 1


def test_no_script_trains_on_the_cpu_where_it_asks_for_gpus() -> None:
    assert [path.name for path in JOBS.glob("*.sbatch") if "--without" in path.read_text()] == []


def _without_batch_size(spec: RunSpec) -> str:
    return spec.model_dump_json(exclude={"task": {"batch_size"}})


def test_a_shell_reads_every_script() -> None:
    for path in JOBS.glob("*.sbatch"):
        done = subprocess.run(["bash", "-n", path], capture_output=True, check=False)
        assert (path.name, done.returncode, done.stderr) == (path.name, 0, b"")


def here_document(text: str) -> str:
    """The lines that write spec.json, as a command that prints it."""
    lines = itertools.dropwhile(lambda line: "<<END" not in line, text.splitlines())
    kept = list(itertools.takewhile(lambda line: line != "END", lines))
    return "\n".join(["cat <<END", *kept[1:], "END"])


@pytest.mark.parametrize("name", PAPER)
def test_a_script_writes_the_spec_of_its_run(name: str) -> None:
    specs = PAPER[name]
    text = (JOBS / f"{name}.sbatch").read_text()
    for spec in specs:
        batch = spec.task.batch_size if isinstance(spec.task, TrainTask) else 0
        assert f"{batch}" in text.split("#SBATCH")[0] or not batch
        variables = {
            "SLURM_JOB_ID": "7",
            "data": "/i m g",
            "batch_size": str(batch),
            "epochs": "20",
        }
        done = subprocess.run(
            ["bash", "-uc", here_document(text)],
            env={**os.environ, **variables}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        written = RunSpec.from_dict(json.loads(done.stdout))
        assert written == spec.model_copy(update={"repeat": 7, "data": "/i m g"})


def test_scripts_for_a_site() -> None:
    slurm = SlurmSite(gpu_partition="accel", account="x-1", gpu_request="gpus-per-node",
                      gpu_type="h100", interface="ib0", requeue=False)  # fmt: skip
    site = SiteProfile(python="/my env/python", modules=["cuda/12"], slurm=slurm)
    text = jobs_folder(site)["ddp_2node.sbatch"]
    for line in (
        "#SBATCH --partition=accel",
        "#SBATCH --account=x-1",
        "#SBATCH --gpus-per-node=h100:2",
        "#SBATCH --no-requeue",
        "module load cuda/12",
        "export GLOO_SOCKET_IFNAME=ib0",
        "python=${WEATHER_HPC_PYTHON:-'/my env/python'}",
    ):
        assert line in text.splitlines()
    assert "scontrol requeue" not in text
    assert "WEATHER_HPC_INTERFACE" not in text


def start_here(name: str, folder: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start a script without Slurm: the part before it needs one."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "WEATHER"))}
    env |= {"WEATHER_HPC_PYTHON": sys.executable, "WEATHER_HPC_RESULTS": str(folder), **variables}
    return subprocess.Popen(
        ["bash", JOBS / f"{name}.sbatch"],
        env=env, cwd=JOBS.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "variables", "message"),
    [
        ("ddp_4gpu", {}, "this is a job script: sbatch"),
        ("ddp_4gpu", {"WEATHER_HPC_PYTHON": "/bin/false"}, "/bin/false finds no weather_hpc from"),
        ("train_cpu", {"BATCH_SIZE": "many"}, "must be whole numbers, not 'many'"),
        ("train_cpu", {"EPOCHS": "0"}, "whole numbers, not '0'"),
        ("train_cpu", {"WEATHER_HPC_STORE": "/none"}, "no store /none; set WEATHER_HPC_DATA too"),
        (
            "preprocess_sequential",
            {"WEATHER_HPC_DATA": "/none"},
            "no folder WEATHER_HPC_DATA=/none",
        ),
        ("eda_sequential", {"WEATHER_HPC_STORE": "/none"}, "no store /none; set WEATHER_HPC_DATA"),
        ("collect", {}, "holds no runs yet"),
    ],
)
def test_an_error_is_one_line(
    tmp_path: Path, name: str, variables: dict[str, str], message: str
) -> None:
    job = {} if "sbatch" in message else {"SLURM_JOB_ID": "7"}
    script = start_here(name, tmp_path, **job, **variables)
    _, stderr = script.communicate()
    assert script.returncode == 2
    assert message in stderr
    assert len(stderr.splitlines()) == 1


def test_a_job_that_waits_for_another_says_for_which_and_that_it_goes_on(tmp_path: Path) -> None:
    lock = tmp_path / ".inputs.lock"
    with lock.open("w") as other:
        other.write("job 6 on node9\n")
        other.flush()
        assert take_lock(other)
        job = {"SLURM_JOB_ID": "7", "WEATHER_HPC_DATA": "/none"}
        script = start_here("preprocess_sequential", tmp_path, **job)
        assert script.stderr is not None
        assert script.stderr.readline() == (
            f"preprocess_sequential: waits for {lock}, held by job 6 on node9, "
            "which makes the images or the store\n"
        )
    told = script.communicate()[1].splitlines()
    assert told[0].startswith("preprocess_sequential: goes on after ")
    assert told[1].startswith("preprocess_sequential: no folder WEATHER_HPC_DATA=/none")
    assert lock.read_text().startswith("job 7 on ")  # for jobs that wait for this one


def test_a_folder_of_another_clusters_job_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    run = tmp_path / "runs" / "train_cpu-b64-7"
    run.mkdir(parents=True)
    script = start_here(
        "train_cpu", tmp_path, SLURM_JOB_ID="7", WEATHER_HPC_STORE=str(tmp_path / "store")
    )
    _, stderr = script.communicate()
    assert (script.returncode, list(run.iterdir())) == (2, [])
    assert "another cluster's job with the same id" in stderr
    assert (tmp_path / ".inputs.lock").read_text() == ""


def run_main(argv: Sequence[str]) -> int:
    return cli.guarded("jobs_folder", main, argv)


def test_the_command_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main([str(tmp_path / "j"), "--site", "testbed"]) == 0
    assert len(list((tmp_path / "j").glob("*.sbatch"))) == len(PAPER) + len(EXTRA)
    assert "#SBATCH --partition=gpu" in (tmp_path / "j" / "ddp_4gpu.sbatch").read_text()
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert run_main([str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
