"""A benchmark: order, ratios, and implementations that fail, are wrong or missing."""

import re
import sys
from pathlib import Path

import pytest

from weather_hpc.bench.benchmark import (
    BenchmarkResult,
    Goal,
    ImplementationResult,
    judge_goals,
    run_benchmark,
    select,
)
from weather_hpc.bench.command_line import print_lines
from weather_hpc.bench.measurement import Implementation, Outcome, measure
from weather_hpc.bench.timed_function import function_command
from weather_hpc.errors import FailedError, UserError

HERE = "tests.bench.sleepers"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def logger(name: str, log: Path, seconds: float, *, warmup: bool = False) -> Implementation:
    command = function_command(f"{HERE}:log_name", name=name, log=str(log), seconds=seconds)
    return Implementation(name, f"takes {seconds} s", command, warmup=warmup)


def test_contestants_alternate_in_an_order_that_rotates(tmp_path: Path) -> None:
    log = tmp_path / "log"
    a, b = logger("a", log, 2.0), logger("b", log, 3.0, warmup=True)
    absent = Implementation("c", "is not there", ("false",), missing="no such package")
    result = run_benchmark("turns", [a, b, absent], rounds=3, reference="a")
    assert log.read_text().split() == ["b", "a", "b", "b", "a", "a", "b"]
    first, second, third = (one.as_dict() for one in result.results)
    assert (first["median_s"], first["rounds"], first["ratio"]) == (2.0, 3, 1.0)
    assert (second["ratio"], second["ratio_low"], second["ratio_high"]) == (1.5, 1.5, 1.5)
    assert second["rounds"] == 3  # the warm-up is not counted
    assert (third["reason"], third["failed"], third["ratio"]) == ("no such package", False, None)
    assert not result.failed
    assert result.as_dict()["provenance"]["cpu_count"]


def test_a_ratio_is_taken_within_its_round(tmp_path: Path) -> None:
    """A machine that is ten times slower for one round leaves the ratio as it is."""
    log = tmp_path / "log"
    slowed = (
        "import json, os; n = len(open('{log}').read().split()); open('{log}', 'a').write('x ')\n"
    )
    slowed += "s = {seconds} * (10 if n // 2 == 1 else 1)\n"
    slowed += (
        "open(os.environ['WEATHER_HPC_BENCH_REPORT'], 'w').write(json.dumps({{'seconds': s}}))"
    )
    log.write_text("")
    implementations = [
        Implementation(f"{s}", "", (sys.executable, "-c", slowed.format(log=log, seconds=s)))
        for s in (1, 4)
    ]
    fast, slow = run_benchmark("rounds", implementations, rounds=3, reference="1").results
    assert sorted(m.seconds for m in fast.measurements.values()) == [1, 1, 10]
    assert slow.ratios == (4.0, 4.0, 4.0)


def test_failed_and_wrong_implementations_are_reported_and_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(outcome: Outcome) -> None:
        raise FailedError("41 found,\nexpected 42")

    implementations = [
        logger("good", tmp_path / "log", 1.0),
        Implementation("wrong", "", ("true",), check=wrong),
        Implementation("crash", "", (sys.executable, "-c", "raise SystemExit('no disk')")),
        Implementation("slow", "", ("sleep", "60"), timeout_s=0.2),
        Implementation("absent", "", ("no-such-program",)),
    ]
    result = run_benchmark("failures", implementations, rounds=2, reference="good")
    reasons = {one.implementation.name: one.reason for one in result.results}
    assert reasons == {
        "good": None,
        "wrong": "41 found, expected 42",
        "crash": "ended with exit code 1: no disk",
        "slow": "took longer than its limit of 0.2 s",
        "absent": "no-such-program: No such file or directory",
    }
    assert result.failed
    assert [len(one.measurements) for one in result.results] == [2, 0, 0, 0, 0]
    print_lines(result.as_dict(), sys.stdout)
    good, *others = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"good: [0-9.]+ s, ratio 1\.00", good)
    assert others == [f"{name}: failed: {why}" for name, why in reasons.items() if why]


def test_a_function_times_itself_with_its_threads_in_an_empty_folder() -> None:
    command = function_command(f"{HERE}:sleep", outside_s=0.3, inside_s=0.05)
    measurement = measure(Implementation("sleeper", "", command, threads=3))
    assert 0.05 <= measurement.seconds <= measurement.wall_s - 0.3
    assert measurement.facts == {"threads": "3", "folder": []}


def test_memory_is_that_of_the_process_and_its_children_together() -> None:

    def peak_mb(own_mb: int, child_mb: int) -> float:
        command = function_command(f"{HERE}:hold", own_mb=own_mb, child_mb=child_mb)
        return measure(Implementation("", "", command)).peak_memory_mb or 0.0

    small = peak_mb(0, 0)
    assert peak_mb(200, 0) - small == pytest.approx(200, abs=40)
    assert peak_mb(200, 200) - small == pytest.approx(400, abs=40)


def test_only_some_are_selected_and_the_first_of_them_is_the_reference() -> None:
    available = [Implementation(name, "", ()) for name in ("Pillow", "ours, 1", "ours, 2", "Dask")]

    def names(*only: str) -> tuple[list[str], str]:
        selected, reference = select(available, only, "Pillow")
        return [implementation.name for implementation in selected], reference

    assert names() == (["Pillow", "ours, 1", "ours, 2", "Dask"], "Pillow")
    assert names("ours") == (["ours, 1", "ours, 2"], "ours, 1")
    assert names("Dask", "Pillow") == (["Pillow", "Dask"], "Pillow")
    with pytest.raises(UserError, match=r"--only Dusk: no implementation .* name: \['Pillow'"):
        names("ours", "Dusk")


def test_goals_of_implementations_not_selected_are_left_out() -> None:
    results = tuple(
        ImplementationResult(Implementation(name, "", ()), {}, None, ()) for name in ("a", "b")
    )
    goals = [Goal("a", "b", 1.0, cpu=False), Goal("a", "c", 1.0, cpu=False)]
    judged = judge_goals(goals, BenchmarkResult("x", "a", 1, results, {}))
    assert [(goal.faster, goal.slower) for goal in judged] == [("a", "b")]
