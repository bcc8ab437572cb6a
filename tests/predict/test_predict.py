"""Predictions, as a user gets them: a trained network, pictures, files that are none."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.disks import mounted
from weather_hpc import cli
from weather_hpc.models.registry import build_model
from weather_hpc.predict.__main__ import main
from weather_hpc.preprocess.__main__ import main as preprocess_main
from weather_hpc.preprocess.decoders import FastDecoder
from weather_hpc.train.checkpoint import VERSION, load_checkpoint
from weather_hpc.train.loader import network_input


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def classify(
    capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0
) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.guarded("predict", main, [*map(str, arguments), "--json"]) == code
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def test_a_folder_is_classified(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    summary = classify(capsys, images, "--checkpoint", checkpoint, "--out", out)
    found = rows(out / "predictions.csv")
    assert len(found) == summary["images"] == 44
    right = sum(Path(row["file"]).parent.name == row["predicted"] for row in found)
    assert right > 12, "it has seen most of these pictures in training; chance is 4"
    for row in found:
        shares = {k.removeprefix("p_"): float(v) for k, v in row.items() if k.startswith("p_")}
        assert len(shares) == 11
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["predicted"] == max(shares, key=shares.__getitem__)
        assert float(row["probability"]) == max(shares.values())
    assert [Path(sheet).name for sheet in summary["sheets"]] == ["sheet-1.png", "sheet-2.png"]
    with Image.open(summary["sheets"][0]) as sheet:
        assert sheet.width > 6 * 192
        assert len(sheet.getcolors(2**24) or []) > 1000, "it holds photographs, not a blank page"


def test_probabilities_are_the_networks_own(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(images.rglob("*.jpg"))[:3]
    options = ("--checkpoint", checkpoint, "--out", tmp_path, "--batch-size", 2, "--no-sheet")
    assert classify(capsys, *files, *options)["sheets"] == []
    trained = load_checkpoint(checkpoint)
    network = build_model("paper_cnn", len(trained.classes), 256).eval()
    network.load_state_dict(trained.network)
    decode = FastDecoder()
    batch = torch.from_numpy(np.stack([decode(file, 256) for file in files]))
    with torch.no_grad():
        expected = network(network_input(batch)).softmax(dim=1)
    for row, shares in zip(rows(tmp_path / "predictions.csv"), expected.tolist(), strict=True):
        assert [float(row[f"p_{name}"]) for name in trained.classes] == pytest.approx(
            shares, abs=2e-6
        )


def test_unusable_files_are_listed_and_skipped(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = min(images.rglob("*.jpg"))
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(good, folder / "b.jpg")
    (folder / "a.jpg").write_text("no picture")
    (folder / "c\n.jpg").write_bytes(good.read_bytes()[:500])
    (folder / ".hidden.jpg").write_text("left out")
    os.mkfifo(folder / "pipe.jpg")
    missing = tmp_path / "missing.jpg"
    out = tmp_path / "out"
    summary = classify(capsys, folder, missing, "--checkpoint", checkpoint, "--out", out)
    assert summary["images"] == 1
    reasons = {Path(row["file"]).name: row["reason"] for row in rows(out / "skipped.csv")}
    assert set(reasons) == {"a.jpg", "c\\u000a.jpg", "missing.jpg", "pipe.jpg"}
    assert "No such file" in reasons["missing.jpg"]
    assert [skip["file"] for skip in summary["skipped"]] == [
        row["file"] for row in rows(out / "skipped.csv")
    ]
    only_wrong = classify(capsys, missing, "--checkpoint", checkpoint, "--out", out, code=1)
    assert (only_wrong["images"], only_wrong["sheets"]) == (0, [])
    assert rows(out / "predictions.csv") == []
    assert not list(out.glob("sheet-*")), "those of the call before are gone"


def test_the_three_most_probable_classes_and_low_confidence(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--checkpoint", checkpoint, "--out", tmp_path, "--no-sheet")
    summary = classify(capsys, images, *options, "--low-confidence", 0.4)
    found = rows(tmp_path / "predictions.csv")
    before = ["file", "predicted", "probability", *(f"p_{c}" for c in summary["known_classes"])]
    assert list(found[0])[: len(before)] == before
    for row in found:
        shares = {k.removeprefix("p_"): v for k, v in row.items() if k.startswith("p_")}
        ranked = sorted(shares.values(), key=float, reverse=True)
        top = [row["probability"], row["second_probability"], row["third_probability"]]
        assert top == ranked[:3]
        assert [shares[row[name]] for name in ("predicted", "second", "third")] == top
        assert row["low_confidence"] == str(float(top[0]) < 0.4)
    low = sum(row["low_confidence"] == "True" for row in found)
    assert (summary["low_confidence"], summary["low_confidence_images"]) == (0.4, low)
    assert 0 < low < len(found)


def test_accuracy_where_folders_have_the_names_of_classes(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    for name in ("dew", "snow"):
        shutil.copytree(images / name, new / name)
    shutil.copytree(images / "rime", new / "aurora")
    shutil.copytree(images / "rime", new / "more" / "rime")  # its first folder is what counts
    shutil.copy(min(images.rglob("*.jpg")), new / "loose.jpg")
    out = tmp_path / "out"
    summary = classify(capsys, new, "--checkpoint", checkpoint, "--out", out)
    found = {str(Path(row["file"]).relative_to(new)): row for row in rows(out / "predictions.csv")}
    true = {name: row["true_class"] for name, row in found.items()}
    assert {true[name] for name in true if name.startswith("dew")} == {"dew"}
    assert {true[name] for name in true if not name.startswith(("dew", "snow"))} == {""}
    known = [row for row in found.values() if row["true_class"]]
    right = [row for row in known if row["correct"] == "True"]
    assert all((row["predicted"] == row["true_class"]) == (row in right) for row in known)
    assert all(row["correct"] == "" for row in found.values() if row not in known)
    accuracy = summary["accuracy"]
    assert (accuracy["images"], accuracy["correct"]) == (8, len(right))
    assert accuracy["low"] <= accuracy["accuracy"] <= accuracy["high"]
    assert set(summary["accuracy_by_class"]) == {"dew", "snow"}
    assert sum(one["correct"] for one in summary["accuracy_by_class"].values()) == len(right)
    assert summary["unknown_folders"] == {"aurora": 4, "more": 4}
    assert json.loads((out / "summary.json").read_text()) == summary

    main([str(new), "--checkpoint", str(checkpoint), "--out", str(out)])
    said = capsys.readouterr().out
    assert f"accuracy {accuracy['accuracy']:.1%} ({len(right)} of 8 images" in said
    unknown = "2 folders that are no classes that the network knows: aurora (4), more (4)"
    assert f"8 images in {unknown}" in said
    assert "the network knows the classes dew, fogsmog, frost" in said

    alone = classify(capsys, new / "dew", "--checkpoint", checkpoint, "--out", out)
    assert alone["accuracy"]["images"] == 4, "the folder that holds a file may be its class"
    none = classify(capsys, new / "aurora", "--checkpoint", checkpoint, "--out", out)
    assert (none["accuracy"], none["unknown_folders"]) == (None, {})


def test_a_run_folder_stands_for_its_checkpoint(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = min(images.rglob("*.jpg"))
    options = (image, "--no-sheet", "--out", tmp_path / "out")
    summary = classify(capsys, *options, "--checkpoint", checkpoint.parent)
    assert summary["checkpoint"] == str(checkpoint)
    record = json.loads((checkpoint.parent / "record.json").read_text())
    assert summary["run"] == record["run_id"]

    cleaned = tmp_path / "cleaned"
    cleaned.mkdir()
    for folder, reason in ((cleaned, "is no run folder"), (cleaned, "`sweep clean` removed it")):
        argv = [*map(str, options), "--checkpoint", str(folder)]
        assert cli.guarded("predict", main, argv) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
        shutil.copy(checkpoint.parent / "record.json", cleaned)


class Trap:
    """Unpickled by anything that runs code from a file, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_checkpoint_cannot_run_code(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap, sprung = tmp_path / "trap.pt", tmp_path / "sprung"
    torch.save({"version": VERSION, "network": Trap(sprung)}, trap)
    argv = [str(images), "--checkpoint", str(trap), "--out", str(tmp_path / "out")]
    assert cli.guarded("predict", main, argv) == 2
    assert "cannot be read as a checkpoint" in capsys.readouterr().err
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 0}, "no epoch is complete"),
        ({"classes": ["one", "two"]}, "weights do not match its network"),
        ({"asked": {"model": "paper_cnn"}}, "weights do not match its network: 'image_size'"),
    ],
)
def test_a_checkpoint_that_cannot_serve(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    value = torch.load(checkpoint, weights_only=True)
    torch.save(value | changes, tmp_path / "other.pt")
    argv = ["x.jpg", "--checkpoint", str(tmp_path / "other.pt"), "--out", str(tmp_path)]
    assert cli.guarded("predict", main, argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


WRONG: list[tuple[Any, str]] = [
    ("a note\n", "it is text"),
    (torch.zeros(2), "is a file of torch.save with a Tensor"),
    ({"weight": 1, "bias": 2}, "is a file of torch.save with 2 entries (weight, bias, ...)"),
    ({"version": VERSION + 1}, "was written by a later weather_hpc"),
    ({"version": 2}, "was written by an earlier weather_hpc"),
    (torch.nn.Linear(1, 1), "it holds Python objects, which are not loaded"),
]


@pytest.mark.parametrize(("content", "told"), WRONG)
def test_a_wrong_file_is_named_and_nobody_told_to_remove_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, told: str
) -> None:
    path = tmp_path / "mine"
    path.write_text(content) if isinstance(content, str) else torch.save(content, path)
    argv = ["x.jpg", "--checkpoint", str(path), "--out", str(tmp_path / "out")]
    assert cli.guarded("predict", main, argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert "remove" not in line


def test_a_store_and_a_results_folder_are_named(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    preprocess = ["--data", str(images), "--out", str(tmp_path / "store"), "--size", "32"]
    assert preprocess_main(preprocess) == 0
    for name, told in (("store", "is a packed store"), ("results", "give it as --best-of")):
        argv = ["x.jpg", "--checkpoint", str(tmp_path / name), "--out", str(tmp_path / "out")]
        assert cli.guarded("predict", main, argv) == 2
        assert told in capsys.readouterr().err


def test_wrong_options_are_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    good = {"IMAGE": "x.jpg", "--checkpoint": checkpoint, "--out": tmp_path / "out"}
    cases: list[tuple[dict[str, object], str]] = [
        ({"--checkpoint": tmp_path / "none.pt"}, "no such file"),
        ({"--out": tmp_path / "file"}, "is a file"),
        ({"--batch-size": 0}, "must be 1 or more"),
        ({"--low-confidence": 1.5}, "must be from 0 to 1"),
        ({"--low-confidence": "nan"}, "must be from 0 to 1"),
        ({"IMAGE": tmp_path / "empty"}, "holds no files"),
    ]
    for changes, message in cases:
        options = good | changes
        argv = [str(options.pop("IMAGE"))]
        argv += [str(word) for pair in options.items() for word in pair]
        assert cli.guarded("predict", main, argv) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_full_disk_keeps_the_earlier_predictions(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = sorted(images.rglob("*.jpg"))[:3]
    with mounted(tmp_path / "disk") as disk:
        out = disk.root / "out"
        classify(capsys, some[0], "--checkpoint", checkpoint, "--out", out)
        before = disk.files()
        disk.fill(16)
        arguments = [*some, "--checkpoint", checkpoint, "--out", out]
        assert cli.guarded("predict", main, list(map(str, arguments))) == cli.EXIT_FAILED
        assert f"predict: {out / 'sheet-1.png'}: No space left" in capsys.readouterr().err
        assert disk.files() == before
        disk.make_room()
        assert classify(capsys, *arguments)["images"] == 3
