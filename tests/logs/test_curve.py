"""The epochs of text logs."""

from pathlib import Path

import pytest

from weather_hpc.logs.curve import log_epochs


def test_ranks_are_averaged_and_the_slowest_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [
        f"Rank: {rank}\tEpoch: {epoch}\tLoss: {2 - epoch + rank}\tAccuracy: 0.{5 + epoch + rank}\t"
        f"Time: {4 + rank}"
        for epoch in (0, 1)
        for rank in (0, 1)
    ]
    path.write_text("\n".join([*lines, "Number of available GPUs: 2", "10.5"]))
    first, second = log_epochs(path)
    assert (first.epoch, first.loss) == (1, 2.5)
    assert first.accuracy == pytest.approx(0.55)
    assert (second.epoch, second.loss, second.measured_s) == (2, 1.5, 10.0)


def test_what_is_no_log_has_no_epochs(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"\x00\xff" * 100)
    assert log_epochs(path) == log_epochs(tmp_path / "none.log") == ()
