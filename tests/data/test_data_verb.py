import json
import shutil
from pathlib import Path

import pytest

from tests.dataset.nasty import nasty_folder, plain_folder
from weather_hpc import cli
from weather_hpc.data.__main__ import main
from weather_hpc.dataset.synthetic import WEAPD_COUNTS
from weather_hpc.preprocess.__main__ import main as preprocess_main

Output = pytest.CaptureFixture[str]


def last_json(capsys: Output) -> dict[str, object]:
    value: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return value


@pytest.fixture
def store(tmp_path: Path, capsys: Output) -> Path:
    data = plain_folder(tmp_path / "images", per_class=5)
    assert preprocess_main(["--data", str(data), "--out", str(tmp_path / "s"), "--size", "16"]) == 0
    capsys.readouterr()
    return tmp_path / "s"


def test_info_shows_what_synth_made(tmp_path: Path, capsys: Output) -> None:
    out = str(tmp_path / "images")
    assert main(["synth", "--out", out, "--images-per-class", "1", "--seed", "3", "--json"]) == 0
    assert last_json(capsys)["images"] == 11
    assert main(["info", out, "--json"]) == 0
    summary = last_json(capsys)
    assert summary["classes"] == dict.fromkeys(WEAPD_COUNTS, 1)
    assert summary["formats"] == {"JPEG": 11}
    assert main(["info", out]) == 0
    assert "rainbow: 1" in capsys.readouterr().out
    assert main(["verify", out]) == 0
    assert "nothing is damaged" in capsys.readouterr().out


def test_info_of_a_nasty_folder(tmp_path: Path, capsys: Output) -> None:
    assert main(["info", str(nasty_folder(tmp_path / "images")), "--json"]) == 0
    summary = last_json(capsys)
    assert summary["images"] == 16
    assert summary["duplicates"] == 1
    assert summary["quarantined"] == 11
    assert summary["formats"] == {"GIF": 1, "JPEG": 12, "PNG": 3}
    assert main(["info", str(tmp_path / "images")]) == 0
    assert 'frost/notes.txt: is text, "frost is cold", not an image' in capsys.readouterr().out


def test_verify_lists_every_damaged_image(tmp_path: Path, capsys: Output) -> None:
    root = str(nasty_folder(tmp_path / "images"))
    assert main(["verify", root]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert any(line.startswith("rain/truncated.jpg: damaged JPEG: truncated") for line in lines)
    assert main(["verify", root, "--json"]) == 1
    assert last_json(capsys)["damaged"] == lines


def test_a_store_is_summarized_and_verified(store: Path, capsys: Output) -> None:
    assert main(["info", str(store), "--json"]) == 0
    summary = last_json(capsys)
    assert summary["shape"] == [15, 16, 16, 3]
    assert summary["classes"] == {"a": 5, "b": 5, "c": 5}
    assert summary["split"] == {"test": 3, "train": 12}
    assert main(["verify", str(store)]) == 0

    with (store / "images.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7b")
    capsys.readouterr()
    assert main(["verify", str(store)]) == 1
    assert "chunk 0 (rows 0 to 14) is damaged" in capsys.readouterr().out


def test_fetch_unpacks_and_prints_a_summary(tmp_path: Path, capsys: Output) -> None:
    plain_folder(tmp_path / "source", per_class=2)
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "source")
    arguments = ["fetch", "--from", archive, "--out", str(tmp_path / "out"), "--json"]
    assert cli.guarded("data", main, [*arguments, "--sha256", "0" * 64]) == 1
    assert main(arguments) == 0
    assert last_json(capsys)["classes"] == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "nowhere: no such folder"),
        (["verify", "nowhere"], "nowhere: no such folder"),
        (["fetch", "--from", "none.zip", "--out", "x"], "none.zip: no such file"),
        (["synth", "--out", "x", "--images-per-class", "0"], "0, must be 1 or more"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.guarded("data", main, arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
