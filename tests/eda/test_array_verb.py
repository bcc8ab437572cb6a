"""``python -m weather_hpc.eda.array``, as a user and as a study's job run it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dataset.nasty import plain_folder
from tests.eda.array_store import SIDE, large_store, small_store
from tests.eda.explored import pack
from tests.test_imports import SLOW_FOR_HELP, loaded_by
from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.eda import array_engines, array_stage, numpy_operations
from weather_hpc.eda.array import main
from weather_hpc.eda.array_engines import ChunkOperation
from weather_hpc.files import write_json
from weather_hpc.runs.record import Status, read_record
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import ArrayTask, Engine, Operation, PreprocessTask

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("verb"))


def call(store: Path, *flags: object) -> int:
    return cli.guarded("array", main, ["--store", str(store), *map(str, flags)])


def test_help_is_fast_and_has_every_setting(capsys: Output) -> None:
    code = (
        "import weather_hpc.eda.array as verb\n"
        "try:\n    verb.main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert loaded_by(code, SLOW_FOR_HELP) == []
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for flag in ("--operation", "--engine", "--workers", "--chunk-images", "--input", "--images"):
        assert flag in text


def test_json_record_and_result_agree(store: Store, tmp_path: Path, capsys: Output) -> None:
    run_dir, out = tmp_path / "run", tmp_path / "result.npy"
    flags = ("--engine", "numpy", "--workers", 2, "--chunk-images", 5, "--input", "disk")
    assert call(store.path, *flags, "--run-dir", run_dir, "--out", out, "--json") == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    record = read_record(run_dir / "record.json")
    assert shown["time_s"] == record.time_s
    assert shown["images"] == record.counts.images == 23
    assert shown["checksum"] == record.quality.store_checksum == store.checksum
    assert [shown["mean"], shown["std"]] == np.load(out).tolist()
    assert record.status is Status.OK
    assert record.time_s is not None
    assert record.images_per_s == pytest.approx(23 / record.time_s)
    ranks = record.actual.ranks
    assert [rank.rank for rank in ranks] == [0, 1]
    assert sum(rank.images or 0 for rank in ranks) == 23
    assert all(rank.cpus and rank.threads == 1 and rank.memory_peak_mb for rank in ranks)
    assert all(0 < (rank.computation_s or 0) < record.time_s for rank in ranks)
    phases = record.phases
    assert 0 < (phases.startup or 0) < (phases.total or 0)
    assert 0 < (phases.data_wait or 0) < record.time_s
    assert (phases.data_wait or 0) + (phases.compute or 0) == pytest.approx(record.time_s)
    assert record.usage.foreign_cpu_percent is not None
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["workers_up", "page_cache"]


def test_the_sentence_names_what_was_measured(store: Store, capsys: Output) -> None:
    assert call(store.path, "--operation", "histogram", "--engine", "opencv", "--images", 9) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("array-histogram-opencv-w1: 9 images, ")
    assert shown.err == ""


def planned(store: Store, **settings: Any) -> RunSpec:
    task = ArrayTask(operation="histogram", engine="numpy", workers=1, **settings)
    return RunSpec(study="s", stage=Stage.ARRAY, task=task, data=str(store.path))


def test_the_launchers_spec_is_read_and_contradicting_flags_are_refused(
    store: Store, tmp_path: Path, capsys: Output
) -> None:
    spec = planned(store, image_size=SIDE, chunk_images=7)
    write_json(tmp_path / "spec.json", spec.as_dict())
    assert call(store.path, "--workers", 2, "--run-dir", tmp_path) == cli.EXIT_USAGE
    assert "--workers 2: " in capsys.readouterr().err
    assert call(store.path, "--operation", "histogram", "--run-dir", tmp_path) == 0
    assert read_record(tmp_path / "record.json").spec == spec


def test_a_run_folder_of_another_stage_is_refused(
    store: Store, tmp_path: Path, capsys: Output
) -> None:
    task = PreprocessTask(backend="sequential", workers=1)
    spec = RunSpec(study="s", stage=Stage.PREPROCESS, task=task, data="/images")
    write_json(tmp_path / "spec.json", spec.as_dict())
    assert call(store.path, "--workers", 2, "--run-dir", tmp_path) == cli.EXIT_USAGE
    assert "spec.json: is of stage preprocess, not array" in capsys.readouterr().err


def test_a_store_of_another_size_than_planned(store: Store, tmp_path: Path, capsys: Output) -> None:
    write_json(tmp_path / "spec.json", planned(store, image_size=128).as_dict())
    assert call(store.path, "--run-dir", tmp_path) == cli.EXIT_USAGE
    assert "has images of 64 pixels, the run asks for 128" in capsys.readouterr().err
    record = read_record(tmp_path / "record.json")
    assert record.status is Status.FAILED
    assert record.time_s is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers", 24], "23 images in chunks of 32 are 1 chunk, fewer than workers"),
        (["--images", 24], "has 23 images"),
        (["--operation", "blur"], "no such operation; known: mean-std"),
        (["--engine", "polars"], "no such engine; known: numpy"),
        (["--input", "tape"], "no such input; known: memory, disk"),
        (["--chunk-images", 0], "--chunk-images 0"),
    ],
)
def test_bad_input_is_one_line(
    store: Store, flags: list[object], message: str, capsys: Output
) -> None:
    assert call(store.path, *flags) == cli.EXIT_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_features_need_a_multiple_of_64_pixels(tmp_path: Path, capsys: Output) -> None:
    other = pack(plain_folder(tmp_path / "images", 2), tmp_path / "store", 48)
    capsys.readouterr()
    assert call(other.path, "--operation", "features") == cli.EXIT_USAGE
    assert "multiple of 64, not 48" in capsys.readouterr().err


def test_a_missing_or_damaged_store(tmp_path: Path, capsys: Output) -> None:
    assert call(tmp_path / "none") == cli.EXIT_USAGE
    assert "no such store" in capsys.readouterr().err
    broken = small_store(tmp_path)
    with (broken.path / "images.npy").open("r+b") as file:
        file.truncate(5000)
    capsys.readouterr()
    assert call(broken.path) == cli.EXIT_USAGE
    assert "images.npy: cannot be mapped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "package", "extra"),
    [("dask-array", "dask", "dask"), ("opencv", "cv2", "eda")],
)
def test_a_missing_package(store: Store, engine: str, package: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from weather_hpc import cli\n"
        "from weather_hpc.eda.array import main\n"
        f"cli.run('array', main, ['--store', {str(store.path)!r}, '--engine', {engine!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == cli.EXIT_USAGE
    assert f"pip install 'weather_hpc[{extra}]'" in done.stderr.splitlines()[-1]


def test_numpy_needs_no_other_package(store: Store) -> None:
    code = (
        "import sys; sys.modules['cv2'] = sys.modules['dask'] = None\n"
        "from weather_hpc import cli\n"
        "from weather_hpc.eda.array import main\n"
        f"cli.run('array', main, ['--store', {str(store.path)!r}, '--operation', 'features'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_result_fails_the_run(
    store: Store, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(parts: Any) -> Any:
        return numpy_operations.mean_std_of(np.concatenate(parts)[1:])

    wrong = ChunkOperation(numpy_operations.image_moments, forgetful)
    operations = array_engines.CHUNK_OPERATIONS[Engine.NUMPY]
    monkeypatch.setitem(operations, Operation.MEAN_STD, wrong)
    assert call(store.path, "--run-dir", tmp_path) == cli.EXIT_FAILED
    assert "the result of mean-std is wrong" in capsys.readouterr().err
    record = read_record(tmp_path / "record.json")
    assert record.status is Status.FAILED
    assert "differs from the reference" in str(record.reason)


def test_a_file_that_stays_in_memory_is_recorded_and_said(
    store: Store, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for share, dropped in ((1.0, False), (None, None), (0.01, True)):
        monkeypatch.setattr(array_stage, "forget", lambda chunks, share=share: share)
        run_dir = tmp_path / str(share)
        run_dir.mkdir()
        assert call(store.path, "--input", "disk", "--run-dir", run_dir) == 0
        event = json.loads((run_dir / "events.jsonl").read_text().splitlines()[-1])
        assert (event["dropped"], event["cached_share"]) == (dropped, share)
        assert ("does not measure the disk" in capsys.readouterr().err) is (dropped is not True)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """315 MB of pixels."""
    return large_store(tmp_path_factory.mktemp("large"), images=400, side=512).path


def peak_mb(store: Path, run_dir: Path, *flags: object) -> float:
    """Peak memory of the largest process of a run, started as a job starts it."""
    argv = [sys.executable, "-m", "weather_hpc.eda.array", "--store", str(store),
            "--run-dir", str(run_dir), "--chunk-images", "8", *map(str, flags)]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    peak = read_record(run_dir / "record.json").usage.host_memory_peak_mb
    assert peak is not None
    return peak


@pytest.mark.parametrize(
    ("engine", "operation"),
    [("numpy", "mean-std"), ("dask-array", "mean-std"), ("opencv", "equalization")],
)  # fmt: skip
def test_out_of_core_memory_is_bounded_by_chunks(
    large: Path, tmp_path: Path, engine: str, operation: str
) -> None:
    flags = ("--engine", engine, "--operation", operation, "--input", "disk", "--workers", 2)
    assert peak_mb(large, tmp_path, *flags) < 230


def test_in_memory_a_worker_holds_its_share(large: Path, tmp_path: Path) -> None:
    assert peak_mb(large, tmp_path, "--workers", 1, "--operation", "histogram") > 315
