import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.nasty import nasty_folder, plain_folder, save
from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.store import Store
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends.local import SequentialBackend
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target
from weather_hpc.preprocess.decoders import decode_exact
from weather_hpc.preprocess.stage import preprocess
from weather_hpc.runs.images_summary import ImagesSummary
from weather_hpc.runs.record import RunRecord, read_record
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import Backend, Damaged, Decoder, PreprocessTask

CONFIGURATIONS = [
    (Backend.SEQUENTIAL, 1),
    (Backend.MULTIPROCESSING, 1),
    (Backend.MULTIPROCESSING, 2),
    (Backend.DASK, 1),
    (Backend.DASK, 2),
    (Backend.DASK_NAIVE, 2),
]


def run(
    data: Path,
    run_dir: Path,
    backend: Backend = Backend.SEQUENTIAL,
    workers: int = 1,
    *,
    size: int = 16,
    images: int | None = None,
    decoder: Decoder = Decoder.EXACT,
    damaged: Damaged = Damaged.QUARANTINE,
    max_unreadable: float = 0.01,
    **options: bool | int,
) -> RunRecord:
    task = PreprocessTask(
        backend=backend, workers=workers, image_size=size, images=images, decoder=decoder,
        damaged=damaged, max_unreadable=max_unreadable,
    )  # fmt: skip
    spec = RunSpec(study="test", stage=Stage.PREPROCESS, task=task, data=str(data))
    with RunWriter(spec, run_dir) as writer:
        return preprocess(task, data, run_dir / "store", writer, **options)  # type: ignore[arg-type]


def events(run_dir: Path) -> list[str]:
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


@pytest.mark.parametrize("kind", ["synthetic", "photographs"])
def test_all_backends_make_the_same_bits(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "photographs":
        data = request.getfixturevalue("shared_images") / "weapd-sample"
    else:
        make_synthetic(tmp_path / "images", 6)
        data = tmp_path / "images"
    stores = {}
    for backend, workers in CONFIGURATIONS:
        run_dir = tmp_path / f"{backend}-{workers}"
        record = run(data, run_dir, backend, workers, size=64)
        stores[backend, workers] = Store.open(run_dir / "store")
        assert record.quality.store_checksum == stores[backend, workers].checksum
        assert record.counts.images == len(scan(data).items)
        assert record.counts.quarantined == 0

    first = stores[Backend.SEQUENTIAL, 1]
    for store in stores.values():
        assert store.verify() == []
        assert store.header == first.header
        for name in ("images.npy", "items.csv", "quarantine.csv"):
            assert (store.path / name).read_bytes() == (first.path / name).read_bytes()
    for row in (0, 31, 32, len(first.items) - 1):
        path = data / first.items[row]["path"]
        np.testing.assert_array_equal(first.images[row], decode_exact(path, 64))


def test_the_record_says_what_happened(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images", per_class=30)
    run(data, tmp_path / "run", Backend.MULTIPROCESSING, 2)
    record = read_record(tmp_path / "run" / "record.json")

    assert record.status == "ok"
    assert record.time_s is not None
    assert record.actual.world_size == len(record.actual.ranks) == 2
    assert record.actual.nodes == 1
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 90
    assert all(rank.cpus == sorted(os.sched_getaffinity(0)) for rank in record.actual.ranks)
    assert all(rank.threads == 1 for rank in record.actual.ranks)
    busy = [rank.computation_s for rank in record.actual.ranks]
    assert all(seconds is not None and 0 < seconds < record.time_s for seconds in busy)
    assert record.images_per_s == pytest.approx(90 / record.time_s)
    phases = record.phases
    assert phases.startup is not None
    assert phases.compute is not None
    assert phases.total is not None
    assert 0 < phases.compute <= record.time_s
    assert phases.startup + record.time_s <= phases.total
    assert record.usage.host_memory_peak_mb is not None
    assert record.usage.host_memory_peak_mb > 10
    assert record.usage.foreign_cpu_percent is not None
    assert record.counts.duplicates == 0
    assert events(tmp_path / "run") == ["catalogue", "workers_up"]


@pytest.mark.parametrize("backend", [Backend.SEQUENTIAL, Backend.MULTIPROCESSING, Backend.DASK])
def test_what_cannot_be_decoded_is_quarantined_and_the_run_continues(
    tmp_path: Path, backend: Backend
) -> None:
    data = nasty_folder(tmp_path / "images")
    record = run(data, tmp_path / "run", backend, max_unreadable=0.5)
    store = Store.open(tmp_path / "run" / "store")

    invalid = [row for row in store.items if row["valid"] == "0"]
    assert [row["path"] for row in invalid] == ["rain/truncated.jpg"]
    assert not store.images[int(invalid[0]["row"])].any()
    assert record.counts.images == len(store.rows()) == len(store.items) - 1
    assert record.counts.quarantined == len(scan(data).quarantine) + 1
    assert record.counts.duplicates == 1
    assert (record.counts.unreadable, record.counts.damaged) == (6, 0)
    reasons = {entry["path"]: entry["reason"] for entry in store.quarantine()}
    assert "truncated" in reasons["rain/truncated.jpg"]
    summary = ImagesSummary.read(tmp_path / "run" / "images.json")
    assert (summary.images, summary.duplicates) == (record.counts.images, 1)
    assert summary.checksum == store.checksum
    assert sum(reason.files for reason in summary.quarantined) == record.counts.quarantined
    assert sum((summary.formats or {}).values()) == len(store.items)


def damage(path: Path, content: bytes) -> None:
    """Zero bytes in the middle of a file."""
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(600) + content[middle + 600 :])


@pytest.mark.parametrize(
    ("backend", "decoder"),
    [
        (Backend.SEQUENTIAL, Decoder.FAST),
        (Backend.SEQUENTIAL, Decoder.EXACT),
        (Backend.DASK_NAIVE, Decoder.EXACT),
    ],
)
def test_damaged_images_are_left_out_or_kept_and_told(
    tmp_path: Path, backend: Backend, decoder: Decoder
) -> None:
    data = plain_folder(tmp_path / "images", per_class=4)
    for name, form in (("x.jpg", "JPEG"), ("y.png", "PNG")):
        path = save(data / "a" / name, 20, size=(400, 300), format=form, quality=98)
        damage(path, path.read_bytes())
    options = {"decoder": decoder, "max_unreadable": 0.2}
    left_out = run(data, tmp_path / "left out", backend, **options)  # type: ignore[arg-type]
    assert (left_out.counts.images, left_out.counts.unreadable) == (12, 2)
    store = Store.open(tmp_path / "left out" / "store")
    assert set(store.invalid()) == {"a/x.jpg", "a/y.png"}

    kept = run(data, tmp_path / "kept", backend, damaged=Damaged.KEEP, **options)  # type: ignore[arg-type]
    assert (kept.counts.images, kept.counts.unreadable, kept.counts.damaged) == (14, 0, 2)
    store = Store.open(tmp_path / "kept" / "store")
    assert set(store.damaged()) == {"a/x.jpg", "a/y.png"}
    assert all(reason.startswith("damaged ") for reason in store.damaged().values())
    rows = [int(item["row"]) for item in store.items if item["damage"]]
    assert store.images[rows].any(axis=(1, 2, 3)).all()


def test_a_mount_that_goes_away_during_a_run_is_a_failure_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = plain_folder(tmp_path / "mount", per_class=20)
    data = plain_folder(tmp_path / "images", per_class=20, classes="xyz")
    for name in "abc":
        (data / f"{name}2").symlink_to(mount / name)
        for number, path in enumerate(sorted((data / "xyz"["abc".index(name)]).iterdir())):
            save(path, 5000 + 100 * ord(name) + number)

    def unmount(_: RunWriter, name: str, **__: object) -> None:
        if name == "catalogue":
            mount.rename(tmp_path / "gone")

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "event", unmount)
        with pytest.raises(FailedError, match=r"of 120 image files .*cannot be read.*mount gone"):
            run(data, tmp_path / "run")
    record = read_record(tmp_path / "run" / "record.json")
    assert record.status == "failed"
    assert (record.counts.unreadable or 0) > 1
    assert not (tmp_path / "run" / "store").exists()
    (tmp_path / "gone").rename(mount)
    assert run(data, tmp_path / "run").counts.images == 120


def test_a_measured_run_leaves_its_record_and_no_store(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images")
    kept = run(data, tmp_path / "kept")
    record = run(data, tmp_path / "run", discard=True)
    assert record.quality.store_checksum == kept.quality.store_checksum
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"record.json", "images.json", "events.jsonl", ".lock"}


class DiesAfterTwo(SequentialBackend):
    """Loses its worker after two chunks."""

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        results = super().run(target, chunks)
        yield next(results)
        yield next(results)
        raise FailedError("a worker process was lost")


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose run was stopped after two of its three chunks."""
    data = plain_folder(tmp_path / "images", per_class=30)
    with monkeypatch.context() as patch:
        patch.setattr("weather_hpc.preprocess.stage.make_backend", lambda *_: DiesAfterTwo())
        with pytest.raises(FailedError, match="was lost"):
            run(data, tmp_path / "run")
    record = read_record(tmp_path / "run" / "record.json")
    assert record.status == "failed"
    assert "a worker process was lost" in (record.reason or "")
    assert not (tmp_path / "run" / "store").exists()
    return tmp_path / "run"


def test_resuming_makes_only_the_missing_chunks_and_is_not_timed(
    tmp_path: Path, interrupted: Path
) -> None:
    record = run(tmp_path / "images", interrupted)
    assert record.status == "ok"
    assert record.time_s is None
    assert record.images_per_s is None
    assert record.counts.images == 90
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 90 - 64
    assert events(interrupted)[-1] == "resumed"
    whole = run(tmp_path / "images", tmp_path / "whole")
    assert record.quality.store_checksum == whole.quality.store_checksum


def test_a_measured_run_always_starts_over(tmp_path: Path, interrupted: Path) -> None:
    record = run(tmp_path / "images", interrupted, discard=True)
    assert record.time_s is not None
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 90
    assert not (interrupted / "store.partial").exists()


def test_a_complete_store_is_used_as_it_is(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images")
    first = run(data, tmp_path / "run")
    before = (tmp_path / "run" / "store" / "images.npy").stat()
    again = run(data, tmp_path / "run")
    assert (tmp_path / "run" / "store" / "images.npy").stat() == before
    assert again.quality == first.quality
    assert again.time_s is None
    with pytest.raises(UserError, match="holds another store"):
        run(data, tmp_path / "run", size=24)
    # a measured run may have been killed just before it removed its own store
    assert run(data, tmp_path / "run", discard=True).time_s is not None


def test_a_subset_is_packed_by_its_seed(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images", per_class=10)
    record = run(data, tmp_path / "run", images=9, seed=4)
    assert record.counts.images == 9
    paths = [row["path"] for row in Store.open(tmp_path / "run" / "store").items]
    assert paths == [item.path for item in scan(data).subset(9, seed=4).items]


def test_nothing_decodable_is_a_failure(tmp_path: Path) -> None:
    root = tmp_path / "images" / "a"
    whole = plain_folder(tmp_path / "sound", classes="a") / "a" / "000.jpg"
    root.mkdir(parents=True)
    (root / "x.jpg").write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(FailedError, match="no image could be decoded"):
        run(tmp_path / "images", tmp_path / "run", discard=True)
    assert read_record(tmp_path / "run" / "record.json").status == "failed"
    assert not (tmp_path / "run" / "store").exists()


def test_a_killed_pool_worker_leaves_a_store_that_is_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = plain_folder(tmp_path / "images", per_class=40)
    finished: list[int] = []

    def kill_after_first(self: RunWriter, name: str, **fields: object) -> None:
        if name == "workers_up":
            import psutil

            workers = [
                child
                for child in psutil.Process().children()
                if "spawn_main" in " ".join(child.cmdline())
            ]
            os.kill(workers[-1].pid, signal.SIGKILL)
            finished.append(workers[-1].pid)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "event", kill_after_first)
        with pytest.raises(FailedError, match="a worker process was lost"):
            run(data, tmp_path / "run", Backend.MULTIPROCESSING, 1)
    assert finished
    record = run(data, tmp_path / "run", Backend.MULTIPROCESSING, 2)
    assert record.counts.images == 120
    assert Store.open(tmp_path / "run" / "store").verify() == []


def test_a_warning_for_more_workers_than_cpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = plain_folder(tmp_path / "images", per_class=1)
    run(data, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    run(data, tmp_path / "run", Backend.MULTIPROCESSING, 2)
    assert "2 workers share 1 CPUs" in capsys.readouterr().err


def test_decoders_are_never_mixed_in_a_store(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images")
    run(data, tmp_path / "run", decoder=Decoder.FAST)
    assert Store.open(tmp_path / "run" / "store").header["resize"].startswith("fast")
    with pytest.raises(UserError, match=r"holds another store \(resize differs\)"):
        run(data, tmp_path / "run", decoder=Decoder.EXACT)
