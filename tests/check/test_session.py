"""What a session makes of its checks: figures that are no numbers, ranks that break, its time."""

import math
from pathlib import Path
from typing import Any

import pytest

from weather_hpc.check import node, ranks
from weather_hpc.check.runs import Ran, Runs
from weather_hpc.check.session import OVERTIME_S, STALLED_S, Check, Session
from weather_hpc.check.training import compiled, compiled_warm_up, near, resumed
from weather_hpc.errors import FailedError
from weather_hpc.runs.checks import CheckResult
from weather_hpc.study.spec import Device


def session_in(folder: Path, seconds: float = 60.0) -> Session:
    return Session(Device.CPU, 0, folder / "out", folder, seconds)


def made(session: Session, *checks: Check) -> list[CheckResult]:
    return session.make(checks, lambda result: None)


@pytest.mark.parametrize("found", [[math.nan, 1.0], [1.0, math.nan], [1.0, math.inf]])
def test_losses_that_are_no_numbers_are_wrong_and_stop_no_other_check(
    found: list[float], tmp_path: Path
) -> None:
    check = Check("losses", 0, lambda _: near(found, [1.0, 1.0], 1e-3))
    first, second = made(session_in(tmp_path), check, check)
    assert (first.ok, first.figures) == (False, {"difference": None, "allowed": 1e-3})
    assert second.ok is False


def test_what_ranks_have_found_before_they_break_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_in(tmp_path)
    one = CheckResult(name="binding", ok=True, seconds=1.0, at=0.0, detail="1 host(s)")
    monkeypatch.setattr(ranks, "_start", lambda *_: ([one], "ended with 1: no network"))
    binding, network = made(session, *ranks.checks_here(session))
    assert (binding.ok, binding.detail) == (True, "1 host(s)")
    assert (network.ok, network.detail) == (False, "its ranks ended with 1: no network")


def test_what_checks_start_may_overrun_the_time_by_little(tmp_path: Path) -> None:
    assert session_in(tmp_path, 500.0).limit_s() == STALLED_S
    assert OVERTIME_S <= session_in(tmp_path, 5.0).limit_s() <= OVERTIME_S + 5.0


@pytest.mark.parametrize(
    ("variable", "value", "ok"),
    [
        ("SLURM_JOB_GPUS", "0", False),
        ("CUDA_VISIBLE_DEVICES", "0", False),
        ("CUDA_VISIBLE_DEVICES", "NoDevFiles", True),
        ("CUDA_VISIBLE_DEVICES", "-1", True),
        ("SLURM_GPUS_ON_NODE", "2", False),
        ("SLURM_GPUS_ON_NODE", "0", True),
    ],
)
def test_gpus_that_a_job_has_and_torch_cannot_use_are_told(
    variable: str, value: str, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in node.GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(node, "look_at_gpus", lambda moment: [])
    monkeypatch.setattr(node, "why_no_cuda", lambda: "it is a CPU build")
    session = Session(Device.AUTO, 0, tmp_path / "out", tmp_path, 60.0)
    (result,) = made(session, Check("versions", 0, node.versions))
    assert result.ok is ok
    assert ok or result.detail.startswith(f"{variable} is set, but torch can use none: it is")


def test_a_run_that_was_begun_anew_is_not_taken_for_a_resumed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are the same: they come from the same seed."""
    here = Runs.here

    def forgetful(runs: Runs, *words: object, **options: Any) -> Ran:
        return here(runs, *(word for word in words if word != "--resume"), **options)

    monkeypatch.setattr(Runs, "here", forgetful)
    (result,) = made(session_in(tmp_path), Check("resumed", 0, resumed()))
    assert (result.ok, result.detail) == (False, "the run was begun anew, not resumed")


def test_a_run_that_is_skipped_shows_nothing(tmp_path: Path) -> None:
    session = session_in(tmp_path)
    with pytest.raises(FailedError, match="skipped the run: DataParallel spreads work"):
        session.runs.here("--store", session.store(), "--device", "cpu", "--strategy", "dp")


def test_without_a_compiler_nothing_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    for function in (compiled, compiled_warm_up):
        (result,) = made(session_in(tmp_path), Check("compiled", 0, function))
        assert result.ok is None
        assert result.detail.startswith("torch.compile needs a compiler: no ")
