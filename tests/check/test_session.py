"""Results and time limits of a session: NaN losses, ranks that fail, runs that are skipped."""

import math
from pathlib import Path
from typing import Any

import pytest

from weather_hpc.check import node, ranks
from weather_hpc.check.runs import FinishedRun, TrainRuns
from weather_hpc.check.session import OVERTIME_S, STALLED_S, Check, Session
from weather_hpc.check.training import compare_losses, compiled, compiled_warm_up, resumed
from weather_hpc.errors import FailedError
from weather_hpc.runs.checks import CheckResult
from weather_hpc.study.tasks import Device


def session_in(folder: Path, seconds: float = 60.0) -> Session:
    return Session(Device.CPU, 0, folder / "out", folder, seconds)


def results_of(session: Session, *checks: Check) -> list[CheckResult]:
    return session.run(checks, lambda result: None)


@pytest.mark.parametrize("losses", [[math.nan, 1.0], [1.0, math.nan], [1.0, math.inf]])
def test_nan_losses_are_wrong_and_the_next_check_runs(losses: list[float], tmp_path: Path) -> None:
    check = Check("losses", 0, lambda _: compare_losses(losses, [1.0, 1.0], 1e-3))
    first, second = results_of(session_in(tmp_path), check, check)
    assert (first.ok, first.figures) == (False, {"difference": None, "allowed": 1e-3})
    assert second.ok is False


def test_results_of_ranks_before_they_fail_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_in(tmp_path)
    one = CheckResult(name="binding", ok=True, seconds=1.0, at=0.0, detail="1 host(s)")
    monkeypatch.setattr(ranks, "_start", lambda *_: ([one], "ended with 1: no network"))
    binding, network = results_of(session, *ranks.checks_on_this_node(session))
    assert (binding.ok, binding.detail) == (True, "1 host(s)")
    assert (network.ok, network.detail) == (False, "its ranks ended with 1: no network")


def test_processes_of_checks_may_exceed_the_deadline_by_little(tmp_path: Path) -> None:
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
def test_gpus_of_the_job_that_torch_cannot_use_are_reported(
    variable: str, value: str, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in node.GPU_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(node, "read_gpus", lambda moment: [])
    monkeypatch.setattr(node, "why_no_cuda", lambda: "it is a CPU build")
    session = Session(Device.AUTO, 0, tmp_path / "out", tmp_path, 60.0)
    (result,) = results_of(session, Check("versions", 0, node.versions))
    assert result.ok is ok
    assert ok or result.detail.startswith(f"{variable} is set, but torch can use none: it is")


def test_a_run_that_was_started_over_does_not_count_as_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are equal: they come from the same seed."""
    here = TrainRuns.here

    def without_resume(runs: TrainRuns, *options: object, **more: Any) -> FinishedRun:
        return here(runs, *("--discard" if one == "--resume" else one for one in options), **more)

    monkeypatch.setattr(TrainRuns, "here", without_resume)
    (result,) = results_of(session_in(tmp_path), Check("resumed", 0, resumed()))
    assert (result.ok, result.detail) == (False, "the run was started over, not resumed")


def test_a_skipped_run_is_a_failure(tmp_path: Path) -> None:
    session = session_in(tmp_path)
    with pytest.raises(FailedError, match="skipped the run: DataParallel spreads work"):
        session.runs.here("--store", session.store(), "--device", "cpu", "--strategy", "dp")


def test_without_a_compiler_nothing_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    for function in (compiled, compiled_warm_up):
        (result,) = results_of(session_in(tmp_path), Check("compiled", 0, function))
        assert result.ok is None
        assert result.detail.startswith("torch.compile needs a compiler: no ")
