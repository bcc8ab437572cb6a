import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.dataset.nasty import nasty_folder, plain_folder, save
from tests.disks import mounted
from tests.preprocess import icc
from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.eda import benchmark, kernels
from weather_hpc.eda.__main__ import main
from weather_hpc.eda.page import findings
from weather_hpc.eda.stage import EdaOptions, packed
from weather_hpc.errors import UserError
from weather_hpc.files import write_text
from weather_hpc.study.tasks import PreprocessTask

Output = pytest.CaptureFixture[str]
ONE_WORKER = pytest.mark.xdist_group("eda_explored")
"""Tests that share a slow fixture."""
FAST = ["--size", "64"]


def call(data: Path, out: Path, *flags: str) -> int:
    return cli.guarded("eda", main, ["--data", str(data), "--out", str(out), *flags])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nasty")
    data = nasty_folder(folder / "images")
    save(data / "<b>&$x_1$" / "<script>.jpg", 60, icc_profile=icc.rgb_profile())
    assert call(data, folder / "out", *FAST) == 0
    return folder / "out"


@ONE_WORKER
def test_everything_is_written(explored: Path) -> None:
    assert {path.name for path in explored.iterdir()} == {
        "store", "eda.json", "eda.html", "class_counts.csv", "census.csv", "histograms.csv",
        "normalization.json", "near_duplicates.csv", "features.npy", "map.csv", "figures",
        "color_profiles.csv", "odd_images.csv",
    }  # fmt: skip
    figures = {path.name for path in (explored / "figures").iterdir()}
    charts = {
        f"{n}.{s}" for n in ("class_counts", "sizes", "histograms", "map") for s in ("svg", "png")
    }
    assert figures >= charts | {"mean_images.jpg", "equalization.jpg", "augmentation.jpg"}


@ONE_WORKER
def test_tables_and_json_agree(explored: Path) -> None:
    result = json.loads((explored / "eda.json").read_bytes())
    store = Store.open(explored / "store")
    assert result["images"] == len(store.rows()) == len(table(explored / "map.csv"))
    assert len(np.load(explored / "features.npy")) == result["images"]
    counts = {row["class"]: int(row["images"]) for row in table(explored / "class_counts.csv")}
    assert counts == {row["class"]: row["images"] for row in result["classes"]}
    assert sum(counts.values()) == result["images"]
    assert len(table(explored / "census.csv")) == result["census"]["files"] == 17
    assert sum(result["quarantine"].values()) == len(store.quarantine())
    pixels = sum(int(row["pixels"]) for row in table(explored / "histograms.csv"))
    assert pixels == result["images"] * 64 * 64 * 3
    assert json.loads((explored / "normalization.json").read_bytes()) == result["normalization"]
    assert len(table(explored / "near_duplicates.csv")) == result["near_duplicates"]["pairs"]


@ONE_WORKER
def test_colour_profiles_are_counted(explored: Path) -> None:
    result = json.loads((explored / "eda.json").read_bytes())
    row = {"profile": "of the tests", "color_space": "RGB", "use": "converted"}
    assert result["census"]["color_profiles"] == [row | {"files": 1, "classes": {"<b>&$x_1$": 1}}]
    assert table(explored / "color_profiles.csv") == [row | {"class": "<b>&$x_1$", "files": "1"}]
    assert "Files in other colours than sRGB, converted to it: 1." in findings(result)
    assert "CMYK files without a profile, whose colours are approximate: 1." in findings(result)
    assert "of the tests" in (explored / "eda.html").read_text("utf-8")
    result["store"]["resize"] = "packed by --color ignore"
    assert any("not converted" in sentence for sentence in findings(result))


class Tags(HTMLParser):
    """The tags of a page with their attributes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@ONE_WORKER
def test_the_page_stands_alone_and_names_are_text(explored: Path) -> None:
    page = (explored / "eda.html").read_text("utf-8")
    tags = Tags()
    tags.feed(page)
    names = [tag for tag, _ in tags.seen]
    assert "script" not in names
    assert "b" not in names
    assert "&lt;b&gt;&amp;$x_1$" in page
    images = [attributes for tag, attributes in tags.seen if tag == "img"]
    assert len(images) >= 3
    for attributes in images:
        assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
        assert attributes["alt"]
    ids = [value for _, attributes in tags.seen if (value := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    result = json.loads((explored / "eda.json").read_bytes())
    for row in result["classes"]:
        path = re.escape(html.escape(row["class"])) + "/"
        assert row["images"] == 0 or re.search(f'<img src="[^"]*" [^>]*alt="{path}', page)
    assert 'id="kernels"' not in page, "nobody asked for a comparison"
    assert result["kernels"] is None
    for tag, attributes in tags.seen:
        link = attributes.get("href")
        if tag == "a" and link and link.startswith("#"):
            assert link[1:] in ids
        elif tag == "a" and link:
            assert (explored / link).is_file()
        if tag == "svg":
            assert attributes["aria-label"]
    assert not re.search(r'(src|href)="https?:', page)


def options_of(data: Path, out: Path, size: int = 16, store: Path | None = None) -> EdaOptions:
    task = PreprocessTask(backend="sequential", workers=1, image_size=size)
    return EdaOptions(data, out, task, store=store)


def test_the_store_is_used_again_until_the_folder_changes(tmp_path: Path) -> None:
    data, out = plain_folder(tmp_path / "images"), tmp_path / "out"
    first, reused = packed(options_of(data, out))
    assert not reused
    again, reused = packed(options_of(data, out))
    assert reused
    assert again.checksum == first.checksum
    save(data / "a" / "new.jpg", 77)
    changed, reused = packed(options_of(data, out))
    assert (changed.shape[0], reused) == (13, False)
    larger, reused = packed(options_of(data, out, size=24))
    assert (larger.size, reused) == (24, False)
    header = out / "store" / "header.json"
    header.write_text(header.read_text().replace(larger.header["resize"], "as in older versions"))
    _, reused = packed(options_of(data, out, size=24))
    assert not reused


def test_a_store_that_the_user_named_is_never_removed(tmp_path: Path) -> None:
    data, mine = plain_folder(tmp_path / "images"), tmp_path / "mine"
    options = options_of(data, tmp_path / "out", store=mine)
    made, _ = packed(options)
    assert packed(options)[1]
    save(data / "a" / "new.jpg", 77)
    with pytest.raises(UserError, match="was not made from"):
        packed(options)
    assert Store.open(mine).checksum == made.checksum


def test_every_implementation_is_compared_and_timed(tmp_path: Path) -> None:
    store, _ = packed(options_of(plain_folder(tmp_path / "images", 2), tmp_path, size=128))
    result = benchmark.time_kernels(store, rounds=2, images=4)
    assert result["left_out"] == []
    assert result["images"] == 4
    assert {timing["subject"] for timing in result["laps"]} == set(benchmark.SUBJECTS)
    for timing in result["laps"]:
        assert timing["agrees"], timing
        assert timing["ms_per_image"] > 0
        assert timing["ratio"] == 1 or timing["way"] != benchmark.OURS


def test_skipped_implementations_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = packed(options_of(plain_folder(tmp_path / "images", 2), tmp_path, size=48))
    monkeypatch.setitem(sys.modules, "dask.array", None)
    result = benchmark.time_kernels(store, rounds=1)
    assert result["left_out"] == [
        "features: 48 pixels are not a multiple of 64",
        "Dask: not installed",
    ]
    assert {(timing["subject"], timing["way"]) for timing in result["laps"]} == {
        (subject, way)
        for subject in ("mean and std", "histograms")
        for way in benchmark.SUBJECTS[subject]
        if "dask" not in way
    }


def test_kernels_that_disagree_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(
        benchmark.SUBJECTS["histograms"], "wrong", lambda images: np.zeros((3, 256))
    )
    data = plain_folder(tmp_path / "images", per_class=1)
    assert call(data, tmp_path / "out", "--size", "32", "--rounds", "1", "--images", "1") == 1
    timings = json.loads((tmp_path / "out" / "eda.json").read_bytes())["kernels"]["laps"]
    assert [timing["way"] for timing in timings if not timing["agrees"]] == ["wrong"]
    assert "histograms: dask.array takes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backend", "dsak"], "--backend dsak: no such backend; did you mean 'dask'?"),
        (["--backend", "dask-naive"], "backend dask-naive is for preprocessing"),
        (["--augmentation", "strong"], "--augmentation: is for timing a store, without --data"),
        (["--run-dir", "run"], "--run-dir: is for timing a store, without --data"),
        (["--workers", "0"], "--workers 0: Input should be greater"),
        (["--workers", "2"], "backend sequential has 1 worker, not 2"),
        (["--rounds", "-1"], "--rounds -1: must be 0 or more"),
        (["--seed", "-1"], "--seed -1: must be 0 or more"),
        (["--images", "13"], "13 images requested, 12 usable images found"),
        (["--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: Output, flags: list[str], message: str
) -> None:
    data = plain_folder(tmp_path / "images")
    assert call(data, tmp_path / "out", *FAST, *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "store").exists()


def test_out_that_is_a_file_is_one_line(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "out").touch()
    assert call(plain_folder(tmp_path / "images"), tmp_path / "out", *FAST) == 2
    assert "is a file, not a folder" in capsys.readouterr().err


def test_out_inside_the_images_is_one_line(tmp_path: Path, capsys: Output) -> None:
    data = plain_folder(tmp_path / "images")
    assert call(data, data / "explored", *FAST) == 2
    assert "is inside --data" in capsys.readouterr().err
    assert not (data / "explored").exists()


def test_a_full_disk_is_one_line(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = plain_folder(tmp_path / "images", per_class=1), tmp_path / "out"
    packed(options_of(data, out))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert call(data, out, "--size", "16") == 2
    assert "0.00 MB are free" in capsys.readouterr().err


def test_a_disk_that_fills_up_keeps_the_earlier_page(tmp_path: Path, capsys: Output) -> None:
    data = plain_folder(tmp_path / "images", per_class=1)
    with mounted(tmp_path / "disk") as disk:
        out = disk.root / "out"
        argv = ["--data", str(data), "--out", str(out), "--size", "16"]
        packed(options_of(data, out))
        write_text(out / "eda.html", "earlier")
        before = disk.files()
        disk.fill(120)
        assert cli.guarded("eda", main, argv) == cli.EXIT_FAILED
        assert "No space left on device" in capsys.readouterr().err
        assert disk.files() == before


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"pip install 'weather_hpc\[eda\]'"):
        kernels.load_opencv()


def test_without_torch_only_the_augmentations_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "weather_hpc.train.augment", raising=False)
    data = plain_folder(tmp_path / "images", per_class=1)
    packed(options_of(data, tmp_path / "out"))
    assert call(data, tmp_path / "out", "--size", "16") == 0
    assert "eda: torch not installed: no sheet of augmentations" in capsys.readouterr().err
    assert "because torch is not installed" in (tmp_path / "out" / "eda.html").read_text("utf-8")
    assert not (tmp_path / "out" / "figures" / "augmentation.jpg").exists()


def test_as_a_user_starts_it(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "weather_hpc", "eda", "--data", data, "--out",
         tmp_path / "out", "--json", *FAST],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["images"] == 12
    assert done.stderr == ""
