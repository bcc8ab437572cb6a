"""The evaluation of ``bench scale``, and one small run of it."""

import json
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder
from weather_hpc import cli
from weather_hpc.bench.__main__ import main
from weather_hpc.bench.scale import Packed, growth_of, judge, make_tiny_images, pack_partly
from weather_hpc.dataset.catalogue import scan
from weather_hpc.errors import FailedError


def test_growth_in_exponents_and_bytes() -> None:
    rows = [
        Packed(1000, 1, 3, 100, 4), Packed(4000, 4, 48, 103, 50), Packed(16000, 16, 768, 115, 780),
    ]  # fmt: skip
    growth = growth_of(rows)
    assert growth == {
        "scan_exponent": pytest.approx(1),
        "pack_exponent": pytest.approx(2),
        "bytes_per_image": pytest.approx(1000),
    }
    assert [goal.met for goal in judge(growth)] == [True, False, True]


def test_tiny_images_are_all_usable_and_all_different(tmp_path: Path) -> None:
    make_tiny_images(tmp_path / "images", 150)
    catalogue = scan(tmp_path / "images")
    assert len(catalogue.items) == 150
    assert catalogue.duplicates == len(catalogue.quarantine) == 0
    assert len(catalogue.classes) == 11


def test_a_planned_store_is_packed_in_part_and_reopened(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images", per_class=50)
    timed = pack_partly(str(data), str(tmp_path / "store"), 8, 2)
    facts = timed.facts
    assert (facts["images"], facts["store_bytes"]) == (150, 150 * 8 * 8 * 3)
    assert (facts["chunks_found_again"], facts["chunks_missing"]) == (2, 3)
    assert not (tmp_path / "store").exists()
    steps = [facts[f"{name}_s"] for name in ("scan", "plan", "pack", "resume")]
    assert min(steps) > 0
    assert sum(steps) == pytest.approx(timed.seconds)


def test_a_whole_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weather_hpc.bench.scale.EXPONENT_GOAL", 10)  # no test of the machine
    monkeypatch.setattr("weather_hpc.bench.scale.BYTES_GOAL", 1e9)
    words = ["--sizes", "200,100", "--size", "8", "--planned", "130", "--rounds", "1"]
    assert main(["scale", *words, "--out", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    value = json.loads(printed.out.splitlines()[-1])
    assert value == json.loads((tmp_path / "bench-scale.json").read_text())
    assert [row["images"] for row in value["rows"]] == [100, 200]
    assert value["planned"]["chunks_made"] == 2
    assert "130 images planned" in printed.err
    assert "goal met: scan exponent" in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sizes", "1000,many"], "expected numbers separated by commas"),
        (["--sizes", "1000,1000"], "at least two different numbers"),
        (["--sizes", "10,1000"], "from 100 up"),
        (["--size", "7"], "--size 7: must be 8 to 4096"),
        (["--planned", "-1"], "--planned -1"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("bench", main, ["scale", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def disk_full(folder: Path, images: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weather_hpc.bench.scale.make_tiny_images", disk_full)
        assert cli.guarded("bench", main, ["scale", "--planned", "0"]) == 1
    assert "cannot be written: No space left" in capsys.readouterr().err


def test_chunks_that_are_not_reused_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from weather_hpc.bench import scale

    monkeypatch.setattr(scale, "_measure", lambda *_: {"chunks_found_again": 1})
    with pytest.raises(FailedError, match="1 of 2 packed chunks were reused"):
        scale._planned(Path("scratch"), 130, 8)
