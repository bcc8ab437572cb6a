"""The implementations of ``bench preprocess``, their images, and goals; never their speed."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.nasty import plain_folder, save
from weather_hpc import cli
from weather_hpc.bench import preprocess_functions
from weather_hpc.bench.__main__ import main
from weather_hpc.bench.benchmark import BenchmarkResult, Goal, ImplementationResult, judge
from weather_hpc.bench.measurement import Implementation, Measurement
from weather_hpc.bench.preprocess import goals, implementations, link_images
from weather_hpc.bench.timed_function import Timed
from weather_hpc.errors import UserError

SIZE = 16


def measured(seconds: float, cpu_s: float) -> Measurement:
    return Measurement(seconds, seconds, seconds, None, 0.0, {"cpu_s": cpu_s})


def test_a_goal_is_judged_by_the_ratios_within_rounds() -> None:
    def result_of(name: str, *times: tuple[float, float]) -> ImplementationResult:
        rounds = {number: measured(*time) for number, time in enumerate(times)}
        return ImplementationResult(Implementation(name, "", ()), rounds, None, ())

    slow = result_of("slow", (8, 6), (80, 6), (12, 6))
    quick = result_of("quick", (2, 3), (20, 2), (4, 1))
    absent = result_of("absent")
    result = BenchmarkResult("x", "slow", 3, (slow, quick, absent), {})
    by_clock = judge(Goal("quick", "slow", 4.0, cpu=False), result)
    assert (by_clock.ratio, by_clock.met) == (4.0, True)
    by_cpu = judge(Goal("quick", "slow", 4.0, cpu=True), result)
    assert (by_cpu.ratio, by_cpu.met) == (3.0, False)
    never = judge(Goal("absent", "slow", 4.0, cpu=False), result)
    assert (never.ratio, never.met) == (None, None)


def test_every_goal_is_between_implementations(tmp_path: Path) -> None:
    names = {c.name for c in implementations(tmp_path, tmp_path, 1, SIZE)}
    for goal in [*goals(None), *goals(3.0)]:
        assert {goal.faster, goal.slower} <= names
    assert (goals(None)[0].at_least, goals(3.0)[0].at_least) == (3.5, 2.4)


def test_images_are_linked_until_there_are_enough(tmp_path: Path) -> None:
    source = plain_folder(tmp_path / "source", per_class=2)  # 6 images
    save(source / "a" / "large.jpg", 9, size=(400, 300))
    assert link_images([source], tmp_path / "all", 10, None) == 14
    assert link_images([source, source], tmp_path / "small", 1, 0.1) == 12
    assert len(preprocess_functions.files_of(str(tmp_path / "small"))) == 12
    with pytest.raises(UserError, match="every image is larger"):
        link_images([source], tmp_path / "none", 1, 1e-9)


@pytest.mark.parametrize("function", ["pillow", "cv2_area", "torchvision_loader"])
def test_peers_handle_every_image(tmp_path: Path, function: str) -> None:
    folder = plain_folder(tmp_path / "images")
    timed: Timed = getattr(preprocess_functions, function)(str(folder), SIZE)
    assert timed.facts["images"] == 12
    assert timed.facts["cpu_s"] > 0
    assert timed.seconds > 0


def test_peers_show_the_same_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", 1, size=(200, 150))
    one = preprocess_functions.pillow_decode(path, SIZE).astype(float)
    other = preprocess_functions.cv2_decode(path, SIZE).astype(float)
    assert np.abs(one - other).mean() < 5


def test_the_stage_and_its_store_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weather_hpc.preprocess.__main__ import main as preprocess

    folder = plain_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    timed = preprocess_functions.pack(str(folder), SIZE, "sequential", 1, "exact")
    assert timed.facts["images"] == 12
    assert timed.seconds > 0
    assert not (tmp_path / "store").exists()
    args = ["--data", str(folder), "--out", "kept", "--size", str(SIZE), "--decoder", "exact"]
    assert preprocess(args) == 0
    assert preprocess_functions.epoch("kept").facts["images"] == 12


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded("bench", main, ["preprocess", "--images", "0"]) == 2
    assert "--images 0" in capsys.readouterr().err
    absent = ["preprocess", "--data", str(tmp_path / "absent")]
    assert cli.guarded("bench", main, absent) == 2
    assert "absent" in capsys.readouterr().err


def test_a_whole_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plain_folder(tmp_path / "images")
    few = ("Pillow", "ours, exact", "epoch from the store")

    def selected(*given: object) -> list[Implementation]:
        return [c for c in implementations(*given) if c.name in few]  # type: ignore[arg-type]

    monkeypatch.setattr("weather_hpc.bench.preprocess.implementations", selected)
    monkeypatch.setattr(
        "weather_hpc.bench.preprocess.goals",
        lambda max_mpx: [Goal(few[2], few[0], 1e-9, cpu=True)],
    )
    flags = ["--data", str(folder), "--images", "1", "--size", str(SIZE), "--rounds", "1"]
    assert main(["preprocess", *flags, "--json"]) == 0
    value = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [c["name"] for c in value["contestants"]] == list(few)
    assert all(c["reason"] is None for c in value["contestants"])
    assert value["images"] == 12
    assert value["goals"][0]["met"]
