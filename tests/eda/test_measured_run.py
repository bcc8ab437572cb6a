"""Timing the work on a store's pixels: the same results on every backend, each part timed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dataset.nasty import plain_folder
from tests.eda.explored import pack
from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels
from weather_hpc.eda.__main__ import main
from weather_hpc.eda.batch import GROUP_IMAGES, Constants, batches, compute
from weather_hpc.eda.equalization import equalized
from weather_hpc.eda.measured_run import Sums
from weather_hpc.eda.request import chosen_rows
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import write_json
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import EDA_PARTS, RunRecord, read_record
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import EdaTask

Output = pytest.CaptureFixture[str]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """33 images in three classes."""
    folder = tmp_path_factory.mktemp("packed")
    return pack(plain_folder(folder / "images", per_class=11), folder / "store")


def call(store: Store, *flags: str) -> int:
    return cli.guarded("eda", main, ["--store", str(store.path), *flags])


def measured(store: Store, run_dir: Path, *flags: str) -> tuple[RunRecord, dict[str, Any]]:
    """The record of a run, and its results."""
    assert call(store, "--run-dir", str(run_dir), *flags) == 0
    lines = RunPaths(run_dir).events.read_text().splitlines()
    events = {event["event"]: event for event in map(json.loads, lines)}
    return read_record(RunPaths(run_dir).record), events["results"]


def flags(backend: str, workers: int) -> list[str]:
    return ["--backend", backend, "--workers", str(workers)]


@pytest.fixture(scope="module")
def sequential(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunRecord, dict[str, Any]]:
    return measured(store, tmp_path_factory.mktemp("sequential"))


def test_the_results_are_those_of_all_images(
    store: Store, sequential: tuple[RunRecord, dict[str, Any]]
) -> None:
    _, results = sequential
    pixels = np.array(store.images[store.rows()])
    assert results["mean"] == pytest.approx((pixels / 255).mean(axis=(0, 1, 2)), rel=1e-9)
    assert results["std"] == pytest.approx((pixels / 255).std(axis=(0, 1, 2)), rel=1e-9)
    of_all = np.stack([equalized(image) for image in pixels])
    assert results["equalized_mean"] == pytest.approx(of_all.mean(axis=(0, 1, 2)) / 255, rel=1e-9)
    # augmented: changed at random, but around the same brightness
    assert results["augmented_mean"] != results["mean"]
    assert results["augmented_mean"] == pytest.approx(results["mean"], abs=0.05)


def test_the_record_is_complete(sequential: tuple[RunRecord, dict[str, Any]], store: Store) -> None:
    record, _ = sequential
    assert record.status == "ok"
    assert isinstance(record.spec.task, EdaTask)
    assert (record.spec.stage, record.spec.task.image_size) == ("eda", 64)
    assert (record.counts.images, record.counts.quarantined) == (33, 0)
    assert record.quality.store_checksum == store.checksum
    assert record.time_s is not None
    assert record.images_per_s == pytest.approx(33 / record.time_s)
    parts = record.exploration.model_dump()
    assert list(parts) == list(EDA_PARTS)
    assert min(parts.values()) > 0
    assert sum(parts.values()) <= record.time_s
    assert record.phases.startup is not None
    assert record.usage.foreign_cpu_percent is not None
    (rank,) = record.actual.ranks
    assert (rank.images, rank.pid, rank.threads) == (33, os.getpid(), 1)
    assert rank.memory_peak_mb is not None


@pytest.mark.parametrize(
    ("backend", "workers"), [("multiprocessing", 1), ("multiprocessing", 3), ("dask", 2)]
)
def test_every_backend_gives_the_same_bits(
    store: Store,
    sequential: tuple[RunRecord, dict[str, Any]],
    tmp_path: Path,
    backend: str,
    workers: int,
) -> None:
    record, results = measured(store, tmp_path, *flags(backend, workers))
    assert results | {"at": 0} == sequential[1] | {"at": 0}
    assert record.actual.world_size == workers
    ranks = record.actual.ranks
    assert [rank.rank for rank in ranks] == list(range(workers))
    assert len({rank.pid for rank in ranks} | {os.getpid()}) == workers + 1
    assert sum(rank.images or 0 for rank in ranks) == 33
    assert all(rank.cpus for rank in ranks)
    busy_s = sum(rank.computation_s or 0 for rank in ranks)
    assert busy_s == pytest.approx(sum(record.exploration.model_dump().values()))
    assert min(record.exploration.model_dump().values()) > 0


def test_a_subset_keeps_the_classes_in_proportion(store: Store, tmp_path: Path) -> None:
    rows = chosen_rows(store, 12)
    assert len(set(rows.tolist())) == 12
    assert np.bincount(store.labels[rows]).tolist() == [4, 4, 4]
    record, _ = measured(store, tmp_path, "--images", "12")
    assert record.counts.images == 12
    with pytest.raises(UserError, match=r"--images 34: .* has 33 images"):
        chosen_rows(store, 34)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_are_whole_groups_and_the_last_are_small(store: Store, workers: int) -> None:
    rows = np.resize(store.rows(), 700)
    made = batches(store, rows, workers)
    assert np.array_equal(np.concatenate([batch.rows for batch in made]), rows)
    sizes = [len(batch.rows) for batch in made]
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert all(size % GROUP_IMAGES == 0 for size in sizes[:-1])
    assert max(sizes) == 64
    assert max(sizes[-workers:]) <= GROUP_IMAGES
    assert all(np.array_equal(store.labels[batch.rows], batch.labels) for batch in made)


def test_an_image_is_augmented_alike_in_a_subset(store: Store) -> None:
    constants = Constants(np.zeros((1, 256, 3), dtype=np.float32), "strong", store.shape[0])
    of_all = np.concatenate(
        [compute(constants, batch).sums for batch in batches(store, store.rows(), 1)]
    )
    (part,) = batches(store, store.rows()[5:9], 1)
    assert np.array_equal(compute(constants, part).sums[:, 3], of_all[5:9, 3])


def test_images_that_are_not_normalised_fail_the_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    table = np.zeros((1, 256, 3), dtype=np.float32)
    monkeypatch.setattr(kernels, "normalization_table", lambda mean, std: table)
    assert call(store, "--run-dir", str(tmp_path)) == 1
    assert "normalised images have means" in capsys.readouterr().err
    record = read_record(tmp_path / "record.json")
    assert (record.status, record.time_s) == ("failed", None)


def test_images_of_one_colour_have_no_deviation(tmp_path: Path) -> None:
    sums = Sums()
    counts = np.zeros((3, 256), dtype=np.int64)
    counts[:, 7] = 100
    sums.histograms[0] = counts
    mean, std = sums.moments()
    table = kernels.normalization_table(mean, std)
    grey = np.full((10, 10, 3), 7, dtype=np.uint8)
    assert np.abs(kernels.normalized(grey, table)).max() < 1e-6


def test_a_normalised_image_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    mean, std = np.array([0.1, 0.5, 0.7]), np.array([0.2, 0.3, 0.1])
    expected = (image / 255 - mean) / std
    result = kernels.normalized(image, kernels.normalization_table(mean, std))
    assert result == pytest.approx(expected, abs=1e-5)


def test_the_launchers_spec_is_the_records(store: Store, tmp_path: Path, capsys: Output) -> None:
    task = EdaTask(backend="sequential", workers=1, image_size=64, images=6)
    spec = RunSpec(study="mine", stage=Stage.EDA, task=task, data="/images", repeat=2)
    write_json(tmp_path / "spec.json", spec.as_dict())
    record, _ = measured(store, tmp_path, "--images", "6")
    assert record.spec == spec
    capsys.readouterr()
    assert call(store, "--run-dir", str(tmp_path), *flags("dask", 1)) == 2
    assert "spec.json has backend sequential" in capsys.readouterr().err
    other = spec.model_copy(update={"task": task.model_copy(update={"image_size": 128})})
    write_json(tmp_path / "spec.json", other.as_dict())
    assert call(store, "--run-dir", str(tmp_path)) == 2
    assert "has images of 64 pixels, the run asks for 128" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "dask-naive"], "backend dask-naive is for preprocessing; eda has dask"),
        (["--augmentation", "paper"], "no recipe that augments images; known: strong"),
        (["--workers", "2"], "backend sequential has 1 worker, not 2"),
        (["--size", "32"], "--size 32: "),
        (["--out", "page"], "--out: is for the page, which needs --data too"),
        (["--rounds", "1"], "--rounds: is for the page, which needs --data too"),
        (["--images", "34"], "has 33 images"),
    ],
)
def test_bad_input_is_one_line(
    store: Store, capsys: Output, arguments: list[str], message: str
) -> None:
    assert call(store, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_images_or_store_it_says_what_to_give(capsys: Output, tmp_path: Path) -> None:
    assert cli.guarded("eda", main, []) == 2
    assert "--data is missing" in capsys.readouterr().err
    assert cli.guarded("eda", main, ["--store", str(tmp_path)]) == 2
    assert "is not a store" in capsys.readouterr().err


def test_without_torch_it_says_what_to_install(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "weather_hpc.train.augmentation", raising=False)
    assert call(store, "--run-dir", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "needs torch" in error
    assert error.count("\n") == 1
    assert read_record(tmp_path / "record.json").status == "failed"


def test_a_store_that_is_gone_is_one_line(store: Store, tmp_path: Path) -> None:
    (batch, *_) = batches(store, store.rows(), 1)
    gone = type(batch)(tmp_path / "images.npy", batch.rows, batch.labels)
    with pytest.raises(FailedError, match="store must be in folders that all nodes share"):
        gone.read(slice(0, 1))


def test_more_workers_than_cpus_are_a_warning(
    store: Store, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    measured(store, tmp_path, *flags("multiprocessing", 2))
    assert "eda: warning: 2 workers share 1 CPUs" in capsys.readouterr().err


def test_as_a_user_starts_it(store: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "weather_hpc", "eda", "--store", str(store.path),
         "--json", *flags("multiprocessing", 2)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["status"], result["images"]) == ("ok", 33)
    assert list(result["parts_s"]) == list(EDA_PARTS)
    assert not [path.name for path in store.path.parent.iterdir() if path.name.startswith(".")]
