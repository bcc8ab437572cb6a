import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.nasty import nasty_folder, plain_folder
from weather_hpc.dataset.catalogue import make_split, scan
from weather_hpc.dataset.partial import Contents, FinishedChunk, PartialStore, reusable
from weather_hpc.dataset.store import CHUNK_ROWS, Store
from weather_hpc.errors import FailedError, UserError

SIZE = 8


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    found = scan(plain_folder(tmp_path / "images", per_class=30))
    return Contents(found, make_split(found), SIZE, "by test")


def rows_of(contents: Contents, chunk: int) -> np.ndarray:
    count = min(CHUNK_ROWS, len(contents.catalogue.items) - chunk * CHUNK_ROWS)
    return np.random.default_rng(chunk).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def fill(
    partial: PartialStore, chunks: Iterable[int], failed: dict[int, str] | None = None
) -> None:
    for chunk in chunks:
        rows = rows_of(partial.contents, chunk)
        with partial.images.open("r+b") as file:
            file.seek(partial.data_offset + chunk * CHUNK_ROWS * SIZE * SIZE * 3)
            file.write(rows.tobytes())
        mine = {r: why for r, why in (failed or {}).items() if r // CHUNK_ROWS == chunk}
        partial.finish(FinishedChunk(chunk, hashlib.sha256(rows.tobytes()).hexdigest(), mine))


def make(out: Path, contents: Contents, failed: dict[int, str] | None = None) -> Store:
    with PartialStore(out, contents) as partial:
        fill(partial, partial.missing(), failed)
        return partial.commit()


def test_what_is_written_is_read(tmp_path: Path, contents: Contents) -> None:
    make(tmp_path / "store", contents, failed={40: "cannot be decoded"})
    store = Store.open(tmp_path / "store")

    assert store.shape == (90, SIZE, SIZE, 3)
    expected = np.concatenate([rows_of(contents, chunk) for chunk in range(3)])
    np.testing.assert_array_equal(store.images, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "store" / "images.npy"), expected)
    assert store.labels.dtype == np.int64
    assert store.labels.tolist() == [0] * 30 + [1] * 30 + [2] * 30
    assert store.classes == ["a", "b", "c"]
    assert 40 not in store.rows()
    assert len(store.rows()) == 89
    assert sorted([*store.rows("train"), *store.rows("test")]) == store.rows().tolist()
    assert store.quarantine() == [{"path": "b/010.jpg", "reason": "cannot be decoded"}]
    assert store.verify() == []
    names = {path.name for path in (tmp_path / "store").iterdir()}
    assert names == {"header.json", "images.npy", "items.csv", "quarantine.csv"}
    assert not (tmp_path / "store.partial").exists()


def test_the_checksum_is_that_of_the_chunks_in_order(tmp_path: Path, contents: Contents) -> None:
    with PartialStore(tmp_path / "store", contents) as partial:
        fill(partial, [2, 0, 1])
        store = partial.commit()
    pixels = [rows_of(contents, chunk).tobytes() for chunk in range(3)]
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in pixels)
    assert store.checksum == hashlib.sha256(digests).hexdigest()


def test_odd_names_survive(tmp_path: Path) -> None:
    found = scan(nasty_folder(tmp_path / "images"))
    store = make(tmp_path / "store", Contents(found, make_split(found), SIZE, "by test"))
    assert [row["path"] for row in store.items] == [item.path for item in found.items]
    listed = [(entry["path"], entry["reason"]) for entry in store.quarantine()]
    assert listed == [(entry.path, entry.reason) for entry in found.quarantine]
    with (store.path / "items.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(found.items)


def test_damage_is_named(tmp_path: Path, contents: Contents) -> None:
    store = make(tmp_path / "store", contents)
    with (store.path / "images.npy").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    text = (store.path / "items.csv").read_text()
    (store.path / "items.csv").write_text(text.replace("train", "test", 1))
    assert Store.open(store.path).verify() == [
        "items.csv: content differs from its checksum",
        "images.npy: chunk 2 (rows 64 to 89) is damaged",
    ]


def test_a_store_that_does_not_fit_is_refused(tmp_path: Path, contents: Contents) -> None:
    store = make(tmp_path / "store", contents)
    header, images = store.path / "header.json", store.path / "images.npy"
    sound = header.read_text()

    header.write_text(sound.replace('"version": 1', '"version": 7'))
    with pytest.raises(UserError, match=r"7\), expected .* 1\)"):
        Store.open(store.path)
    header.write_text(sound[:40])
    with pytest.raises(UserError, match=r"header.json"):
        Store.open(store.path)
    header.write_text(sound)

    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"images.npy: cannot be mapped"):
        Store.open(store.path)
    images.unlink()
    with pytest.raises(UserError, match=r"images.npy is missing"):
        Store.open(store.path)
    np.save(images, np.zeros((90, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=r"shape \(90, 4, 4, 3\) .* \(90, 8, 8, 3\) of uint8"):
        Store.open(store.path)
    header.unlink()
    with pytest.raises(UserError, match="is not a store"):
        Store.open(store.path)
    with pytest.raises(UserError, match="no such store"):
        Store.open(tmp_path / "nowhere")


def test_what_a_killed_run_finished_is_kept(tmp_path: Path, contents: Contents) -> None:
    with PartialStore(tmp_path / "store", contents) as partial:
        fill(partial, [1], failed={33: "bad"})
        with (partial.folder / "progress.jsonl").open("a") as file:
            file.write('\n{"index": 2, "sha2')  # killed while it wrote this
    with pytest.raises(UserError, match="no such store"):
        Store.open(tmp_path / "store")

    with PartialStore(tmp_path / "store", contents) as partial:
        assert partial.missing() == [0, 2]
        fill(partial, [0, 2])
        store = partial.commit()
    assert store.verify() == []
    assert 33 not in store.rows()
    assert store.checksum == make(tmp_path / "other", contents).checksum


def test_a_finished_chunk_whose_pixels_were_lost_is_made_again(
    tmp_path: Path, contents: Contents
) -> None:
    with PartialStore(tmp_path / "store", contents) as partial:
        fill(partial, [0, 1])
        with partial.images.open("r+b") as file:
            file.seek(partial.data_offset)
            file.write(bytes(64))
    with PartialStore(tmp_path / "store", contents) as partial:
        assert partial.missing() == [0, 2]


@pytest.mark.parametrize("change", ["size", "images", "fresh"])
def test_a_partial_store_of_other_contents_is_started_over(
    tmp_path: Path, contents: Contents, change: str
) -> None:
    with PartialStore(tmp_path / "store", contents) as partial:
        fill(partial, [0])
    other = contents
    if change == "size":
        other = Contents(contents.catalogue, contents.split, SIZE * 2, contents.resize)
    if change == "images":
        fewer = contents.catalogue.subset(80)
        other = Contents(fewer, make_split(fewer), SIZE, contents.resize)
    with PartialStore(tmp_path / "store", other, fresh=change == "fresh") as partial:
        assert partial.missing() == [0, 1, 2]


def test_two_runs_cannot_pack_one_store(tmp_path: Path, contents: Contents) -> None:
    with (
        PartialStore(tmp_path / "store", contents),
        pytest.raises(UserError, match=rf"another process is packing .* \(pid {os.getpid()} on"),
    ):
        PartialStore(tmp_path / "store", contents)


def test_an_unfinished_store_is_not_committed(tmp_path: Path, contents: Contents) -> None:
    with PartialStore(tmp_path / "store", contents) as partial:
        fill(partial, [0])
        with pytest.raises(ValueError, match="2 chunks are still missing"):
            partial.commit()
    assert not (tmp_path / "store").exists()


def test_nothing_of_the_users_is_overwritten(tmp_path: Path, contents: Contents) -> None:
    assert reusable(tmp_path / "store", contents) is None
    store = make(tmp_path / "store", contents)
    again = reusable(store.path, contents)
    assert again is not None
    assert again.checksum == store.checksum
    with pytest.raises(UserError, match="already exists"):
        PartialStore(store.path, contents)
    larger = Contents(contents.catalogue, contents.split, SIZE * 2, contents.resize)
    with pytest.raises(UserError, match="holds another store"):
        reusable(store.path, larger)

    (tmp_path / "diary").mkdir()
    with pytest.raises(UserError, match="is not a store"):
        reusable(tmp_path / "diary", contents)
    (tmp_path / "mine.partial").mkdir()
    (tmp_path / "mine.partial" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="was not made by this program"):
        PartialStore(tmp_path / "mine", contents)
    assert (tmp_path / "mine.partial" / "letter.txt").read_text() == "dear"


def test_a_full_disk_is_reported_before_work_begins(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    with pytest.raises(UserError, match=r"needs 0.02 MB, 0.00 MB are free there; make room"):
        PartialStore(tmp_path / "store", contents)


def test_only_what_is_missing_must_fit_on_the_disk(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Contents(contents.catalogue, contents.split, 64, contents.resize)
    with PartialStore(tmp_path / "store", large) as partial:
        partial.images.write_bytes(partial.images.read_bytes())  # every block is on the disk now
    free = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    for fresh in (False, True):
        with PartialStore(tmp_path / "store", large, fresh=fresh) as partial:
            assert partial.missing() == [0, 1, 2]
    with pytest.raises(UserError, match=r"needs 1.10 MB, 0.00 MB are free"):
        PartialStore(tmp_path / "store", large)  # its blocks were given back


def test_images_that_fail_because_their_folder_is_gone_are_made_again(
    tmp_path: Path, contents: Contents
) -> None:
    folder = contents.catalogue.root
    with PartialStore(tmp_path / "store", contents) as partial:
        fill(partial, [0], failed={3: "No such file"})
        folder.rename(tmp_path / "unmounted")
        with pytest.raises(FailedError, match=r"images: the folder of images is gone"):
            fill(partial, [1], failed={40: "No such file"})
    with PartialStore(tmp_path / "store", contents) as partial:
        assert partial.missing() == [1, 2]


def test_a_table_that_is_damaged_is_one_clear_line(tmp_path: Path, contents: Contents) -> None:
    store = make(tmp_path / "store", contents)
    sound = (store.path / "items.csv").read_text()
    for damaged in (
        sound.replace(",train,", ",trian,", 1),
        sound.replace(",a,", ",mist,", 1),
        sound.replace("valid", "usable"),
        sound[:-20],
    ):
        (store.path / "items.csv").write_text(damaged)
        with pytest.raises(UserError, match=r"items.csv: (damaged|89 rows, expected 90)"):
            Store.open(store.path)


def test_the_header_says_how_the_store_was_made(tmp_path: Path, contents: Contents) -> None:
    store = make(tmp_path / "store", contents)
    header = json.loads((store.path / "header.json").read_text())
    assert header["format"] == "weather_hpc store"
    assert header["resize"] == "by test"
    assert header["catalogue"] == contents.catalogue.fingerprint
    assert header["dtype"] == "uint8"
    assert len(header["chunk_sha256"]) == 3
