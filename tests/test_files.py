"""Files appear whole or not at all."""

import json
import math
from pathlib import Path

import pytest

from weather_hpc.files import atomic_path, short_hash, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_folders_are_made_and_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "ä")
    plain = tmp_path / "plain"
    plain.touch()
    assert path.read_text(encoding="utf-8") == "ä"
    assert path.stat().st_mode == plain.stat().st_mode


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"x": math.nan})
    write_json(tmp_path / "x.json", {"x": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"x": None}


def test_short_hash_depends_on_content_and_not_on_order() -> None:
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1})
    assert short_hash({"a": 1}) != short_hash({"a": 2})
    assert len(short_hash([], length=12)) == 12
