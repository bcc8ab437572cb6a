"""Ranks that fail make both of their checks fail, and are started once."""

from pathlib import Path

import pytest

from tests.check.test_check import check
from weather_hpc.check import ranks
from weather_hpc.runs.checks import ALL_REDUCE, BINDING


def test_ranks_that_fail_fail_both_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('no such luck')")
    started = []

    def broken() -> dict[str, str]:
        started.append(1)
        return {"PYTHONPATH": str(tmp_path)}

    monkeypatch.setattr(ranks, "clean_environment", broken)
    results = check(tmp_path / "out", "--only", BINDING, "--only", ALL_REDUCE, code=1)
    assert [result.ok for result in results] == [False, False]
    for result in results:
        assert result.detail.startswith("its ranks ended with 1: ")
        assert result.detail.endswith("ImportError: no such luck")
    assert len(started) == 1
