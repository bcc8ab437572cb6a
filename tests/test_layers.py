"""Imports only point down the layers that pyproject.toml lists."""

import pytest
from importlinter import cli


def test_imports_point_down(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.lint_imports(no_cache=True)
    assert code == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out
