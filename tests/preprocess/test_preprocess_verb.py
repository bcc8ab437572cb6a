import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder
from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.files import write_json
from weather_hpc.preprocess.__main__ import main
from weather_hpc.runs.record import read_record
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import PreprocessTask

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return plain_folder(tmp_path / "images")


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The verb as a user starts it."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "weather_hpc.preprocess", *map(str, arguments)],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["sequential", "multiprocessing", "dask"])
def test_each_backend_packs_and_prints_nothing_to_stderr(
    tmp_path: Path, data: Path, backend: str
) -> None:
    done = call(
        "--data", data, "--out", tmp_path / "s", "--backend", backend, "--size", 16, "--json"
    )
    assert done.returncode == 0
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    store = Store.open(tmp_path / "s")
    assert result["checksum"] == store.checksum
    assert result["store"] == str(tmp_path / "s")
    assert (result["images"], result["quarantined"], result["status"]) == (12, 0, "ok")
    assert result["time_s"] > 0


def test_the_launchers_spec_is_the_records(tmp_path: Path, data: Path) -> None:
    task = PreprocessTask(backend="sequential", workers=1, image_size=16, images=6)
    spec = RunSpec(study="mine", stage=Stage.PREPROCESS, task=task, data=str(data), repeat=2)
    run_dir = tmp_path / "run"
    write_json(run_dir / "spec.json", spec.as_dict())
    flags = ["--data", str(data), "--run-dir", str(run_dir), "--images", "6", "--discard"]

    assert main([*flags, "--size", "16"]) == 0
    record = read_record(run_dir / "record.json")
    assert record.run_id == spec.run_id
    assert record.spec == spec
    assert not (run_dir / "store").exists()
    assert cli.guarded("preprocess", main, [*flags, "--size", "24"]) == 2


def test_without_a_spec_the_record_says_adhoc(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(data), "--run-dir", str(tmp_path / "run"), "--size", "16"]) == 0
    assert Store.open(tmp_path / "run" / "store").size == 16
    assert read_record(tmp_path / "run" / "record.json").spec.study == "adhoc"
    assert "12 images, 0 quarantined" in capsys.readouterr().out
    assert main(["--data", str(data), "--run-dir", str(tmp_path / "run"), "--size", "16"]) == 0
    assert "not timed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backend", "dsak"], "no such backend; did you mean 'dask'?"),
        (["--site", "nowhere.yaml"], "nowhere.yaml"),
        (["--workers", "0"], "--workers 0: Input should be greater"),
        (["--size", "3"], "--size 3: Input should be greater"),
        (["--images", "13"], "13 images requested, 12 usable images found"),
        (["--workers", "2"], "backend sequential has 1 worker"),
        (["--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    argv = ["--data", str(data), "--out", str(tmp_path / "s"), *flags]
    assert cli.guarded("preprocess", main, argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_out_or_run_dir_is_required(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded("preprocess", main, ["--data", str(data)]) == 2
    assert "--out is missing" in capsys.readouterr().err
