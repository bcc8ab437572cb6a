"""Results of checks: written a line at a time, validated when read."""

import json
import math
from pathlib import Path

import pytest

from weather_hpc.errors import FailedError
from weather_hpc.runs.checks import CheckResult, read_checks

GOOD = CheckResult(name="versions", ok=True, seconds=0.5, at=1e9, detail="torch 2.13")
LEFT_OUT = CheckResult(name="all-reduce", ok=None, seconds=0, at=1e9, figures={"ranks": 4})


def test_results_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "check.jsonl"
    GOOD.append_to(path)
    LEFT_OUT.append_to(path)
    assert read_checks(path) == ([GOOD, LEFT_OUT], None)


def test_an_error_in_writing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailedError, match=r"check\.jsonl: cannot be written: "):
        GOOD.append_to(tmp_path / "file" / "check.jsonl")


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "check.jsonl"
    GOOD.append_to(path)
    path.write_bytes(path.read_bytes() + path.read_bytes()[:9])
    assert read_checks(path) == ([GOOD], None)
    path.write_bytes(b"")
    assert read_checks(path) == ([], None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no JSON", "line 2: Invalid JSON"),
        ('"text"', "line 2: "),
        ('{"name": "versions"}', "line 2: ok: Field required"),
        (json.dumps(GOOD.model_dump() | {"seconds": True}), "line 2: seconds: "),
        (json.dumps(GOOD.model_dump() | {"at": math.nan}), "line 2: at: "),
        ("\xff", "line 2: "),
    ],
)
def test_an_invalid_line_does_not_hide_the_others(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "check.jsonl"
    GOOD.append_to(path)
    with path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    LEFT_OUT.append_to(path)
    results, wrong = read_checks(path)
    assert results == [GOOD, LEFT_OUT]
    assert wrong is not None
    assert wrong.startswith(message)


def test_nan_is_refused(tmp_path: Path) -> None:
    result = GOOD.model_copy(update={"figures": {"bus_gb_s_64mb": math.nan}})
    with pytest.raises(ValueError, match="JSON"):
        result.append_to(tmp_path / "check.jsonl")
