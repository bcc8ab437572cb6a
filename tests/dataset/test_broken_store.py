"""Broken files of a store, of a store that is being written, and of synthetic images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broken import NO_FILES, ODD_TEXT, TRIES, called, replace_file
from tests.dataset.nasty import plain_folder
from weather_hpc.data.__main__ import main as data
from weather_hpc.preprocess.__main__ import main as preprocess

PARTS = ("header.json", "images.npy", "items.csv", "quarantine.csv")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_folder(tmp_path_factory.mktemp("broken") / "images", per_class=12)


@pytest.fixture(scope="module")
def store(images: Path) -> Path:
    out = images.with_name("store")
    assert called("preprocess", preprocess, pack(images, out))[0] == 0
    return out


def pack(images: Path, out: Path) -> list[str]:
    return ["--data", str(images), "--out", str(out), "--size", "8"]


def used(store: Path, name: str | None = None) -> list[int]:
    """The exit codes of verbs that read ``store``, whose file ``name`` is broken."""
    codes = []
    for verb in ("info", "verify"):
        code, printed = called("data", data, [verb, str(store)])
        if code == 2:
            (line,) = printed.splitlines()
            assert str(store if name is None else store / name) in line
        codes.append(code)
    return codes


@pytest.mark.parametrize("name", PARTS)
def test_other_content(store: Path, tmp_path: Path, name: str) -> None:
    broken = shutil.copytree(store, tmp_path / "store")
    whole = (broken / name).read_bytes()
    for content in (*ODD_TEXT, whole[:-2], whole[: len(whole) // 2], whole[: len(whole) // 4] * 2):
        (broken / name).write_bytes(content)
        assert used(broken) != [0, 0], content[:20]


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", PARTS)
def test_no_file(store: Path, tmp_path: Path, name: str, kind: str) -> None:
    broken = shutil.copytree(store, tmp_path / "store")
    replace_file(broken / name, kind)
    assert used(broken)[1] != 0


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 3.5, 2**70, float("nan"), "", "x", "../../secret", "\ud800\x1b", [], [0], {},
    {"../../secret": "x"}, [1, 8, 8, 3], ["x"] * 3, [[]], "ab" * 32,
)  # fmt: skip


@given(
    st.sampled_from(
        [
            "shape",
            "classes",
            "tables",
            "checksum",
            "chunk_rows",
            "chunk_sha256",
            "resize",
            "format",
            "version",
        ]
    ),
    st.sampled_from(ODD),
)
@TRIES
def test_other_values_in_the_header(store: Path, key: str, value: Any) -> None:
    path = store / "header.json"
    whole = path.read_bytes()
    try:
        path.write_text(json.dumps(json.loads(whole) | {key: value}))
        used(store)
        path.write_text(json.dumps({k: v for k, v in json.loads(whole).items() if k != key}))
        assert used(store, "header.json") == [2, 2]
    finally:
        path.write_bytes(whole)


@given(
    st.sampled_from(["items.csv", "quarantine.csv", "images.npy"]),
    st.floats(0, 0.999),
    st.binary(min_size=1, max_size=3),
)
@TRIES
def test_changed_bytes(store: Path, name: str, where: float, change: bytes) -> None:
    path = store / name
    whole = path.read_bytes()
    at = int(where * len(whole))
    try:
        path.write_bytes(whole[:at] + change + whole[at + len(change) :])
        used(store)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["plan.json", "progress.jsonl", "images.npy"])
def test_a_store_being_written(store: Path, images: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "store"
    partial = out.with_name("store.partial")
    header = json.loads((store / "header.json").read_bytes())
    keys = ("format", "version", "catalogue", "split", "shape", "dtype", "resize", "chunk_rows")
    chunk = {"index": 0, "sha256": header["chunk_sha256"][0], "failed": {}, "damaged": {}}
    more = (
        json.dumps(chunk | {"index": -1}).encode(), json.dumps(chunk | {"index": "x"}).encode(),
        json.dumps(chunk | {"failed": {"99": 3}}).encode(), b'{"index": 0}',
    )  # fmt: skip
    for content in (*more, *ODD_TEXT[::4], *NO_FILES):
        shutil.rmtree(out, ignore_errors=True)
        partial.mkdir()
        (partial / "lock").touch()
        shutil.copy(store / "images.npy", partial)
        (partial / "plan.json").write_text(json.dumps({key: header[key] for key in keys}))
        (partial / "progress.jsonl").write_text("\n" + json.dumps(chunk))
        if isinstance(content, bytes):
            (partial / name).write_bytes(content)
        else:
            replace_file(partial / name, content)
        code, printed = called("preprocess", preprocess, pack(images, out))
        if code:  # a folder is nothing that we made
            assert content == "folder"
            assert str(partial) in printed
            shutil.rmtree(partial, ignore_errors=True)
        else:
            made = json.loads((out / "header.json").read_bytes())
            assert made["checksum"] == header["checksum"]


def test_the_marker_of_synthetic_images(tmp_path: Path) -> None:
    folder, argv = tmp_path / "images", ["synth", "--out", str(tmp_path / "images")]
    for content in (*ODD_TEXT[::2], *NO_FILES):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        marker = folder / ".synthetic.json"
        marker.write_bytes(content if isinstance(content, bytes) else b"")
        if isinstance(content, str):
            replace_file(marker, content)
        code, printed = called("data", data, [*argv, "--images-per-class", "1"])
        assert (code, printed) == (
            2, f"data: {marker}: damaged; choose another folder, or move {folder} away\n"
        )  # fmt: skip
