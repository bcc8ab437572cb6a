"""Which network predicts: the most accurate configuration's, of runs without errors."""

from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, train_spec
from weather_hpc.errors import FailedError, UserError
from weather_hpc.predict.best import best_run
from weather_hpc.runs.paths import RunPaths


def trained(
    root: Path,
    batch_size: int,
    repeat: int,
    accuracy: float | None,
    time_s: float = 10.0,
    **changes: Any,
) -> RunPaths:
    """A training run with its checkpoint."""
    spec = train_spec("single", 1, repeat, task={"batch_size": batch_size})
    record = measured(
        spec,
        time_s,
        quality={"test_accuracy": accuracy},
        provenance={"started_at": f"2026-01-01T00:{batch_size:02}:{repeat:02}+00:00"},
        **changes,
    )
    run = leave(root, record)
    run.checkpoint.touch()
    return run


def test_the_median_over_repeats_decides_not_the_best_run(tmp_path: Path) -> None:
    for repeat, accuracy in enumerate((0.2, 0.3, 0.9)):
        trained(tmp_path, 8, repeat, accuracy)
    runs = [trained(tmp_path, 16, n, accuracy) for n, accuracy in enumerate((0.5, 0.6, 0.4))]
    best = best_run(tmp_path)
    assert best.run.folder == runs[1].root
    assert best.checkpoint == runs[1].checkpoint
    assert (best.test_accuracy, best.repeats) == (0.5, 3)
    assert best.configuration.startswith("train-single-cpu-w1-b16-")
    assert "median 0.500, 3 of its runs" in str(best)


def test_of_equally_accurate_configurations_the_faster(tmp_path: Path) -> None:
    trained(tmp_path, 8, 0, 0.5, time_s=9.0)
    faster = trained(tmp_path, 16, 0, 0.5, time_s=3.0)
    trained(tmp_path, 32, 0, 0.5, time_s=8.0)
    assert best_run(tmp_path).run.folder == faster.root


def test_runs_that_failed_or_have_an_error_do_not_count(tmp_path: Path) -> None:
    good = trained(tmp_path, 8, 0, 0.4)
    trained(tmp_path, 8, 1, 0.9, status="failed", reason="no luck")
    trained(tmp_path, 16, 0, 0.9, actual={"world_size": 3})  # ranks are missing
    trained(tmp_path, 32, 0, None)
    (tmp_path / "runs" / "damaged").mkdir()
    best = best_run(tmp_path)
    assert (best.run.folder, best.repeats) == (good.root, 1)


def test_a_repeat_whose_checkpoint_is_gone_is_passed_over(tmp_path: Path) -> None:
    first, second = (trained(tmp_path, 8, n, accuracy) for n, accuracy in ((0, 0.8), (1, 0.6)))
    trained(tmp_path, 16, 0, 0.5)
    first.checkpoint.unlink()
    assert best_run(tmp_path).run.folder == second.root
    second.checkpoint.unlink()
    with pytest.raises(FailedError, match=r"no checkpoint of train-single-cpu-w1-b8-\w+, the most"):
        best_run(tmp_path)


def test_without_any_success_it_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study has been run here"):
        best_run(tmp_path)
    trained(tmp_path, 8, 0, 0.9, status="failed", reason="no luck")
    with pytest.raises(FailedError, match="no training run succeeded"):
        best_run(tmp_path)
    trained(tmp_path, 16, 0, None)
    with pytest.raises(FailedError, match="no training run measured a test accuracy"):
        best_run(tmp_path)
