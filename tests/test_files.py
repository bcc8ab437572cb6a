"""Files appear whole or not at all."""

import json
import math
from pathlib import Path
from threading import Timer

import pytest

from weather_hpc import files
from weather_hpc.files import (
    atomic_path,
    short_hash,
    take_lock,
    temporary_folder,
    wait_for_lock,
    write_json,
    write_text,
)


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


def test_a_temporary_folder_is_ours_alone_and_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), temporary_folder("trial", tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
        raise ZeroDivisionError
    assert not folder.exists()


def test_folders_of_killed_processes_are_removed_and_those_in_use_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_NEW_S", -1.0)
    killed, others = tmp_path / "weather_hpc-dask-xyz", tmp_path / "another-program"
    (killed / "inside").mkdir(parents=True)
    others.mkdir()
    link = tmp_path / "weather_hpc-link"
    link.symlink_to(others)
    with temporary_folder("first", tmp_path) as first:
        assert not killed.exists()
        with temporary_folder("second", tmp_path):
            assert first.exists()
    assert sorted(tmp_path.iterdir()) == [others, link]


def test_a_process_that_waits_for_a_lock_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock"
    other = path.open("w")
    with path.open("w") as own:
        assert take_lock(other)
        Timer(0.2, other.close).start()
        assert wait_for_lock(own, "held by a compiler")
        assert wait_for_lock(own, "its own") is True
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"waits for {path}, held by a compiler"
    assert second == f"goes on after 0 s: {path} is free"
