"""The verb: its exit codes, its JSON line, and that it loads nothing it does not need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.records_maker import leave, measured, preprocess_spec
from weather_hpc import cli
from weather_hpc.collect.__main__ import main


def run(*argv: str | Path) -> int:
    return cli.guarded("collect", main, list(map(str, argv)))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    leave(tmp_path / "study", measured(preprocess_spec("sequential", 1), 2.0))
    return tmp_path / "study"


def test_a_study_is_collected_into_itself(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(study, "--json") == cli.EXIT_OK
    out = capsys.readouterr().out.splitlines()
    summary = json.loads(out[-1])
    assert (summary["runs"], summary["in_tables"], summary["rejected"]) == (1, 1, 0)
    assert summary["findings"] == {"error": 0, "warning": 0, "info": 0}
    for name in ("rows", "rejects", "audit", "report"):
        assert Path(summary[name]).parent == study
        assert Path(summary[name]).is_file()
    assert all(Path(path).is_file() for path in [*summary["tables"], *summary["plots"]])


def test_several_folders_are_collected_elsewhere(study: Path, tmp_path: Path) -> None:
    leave(tmp_path / "other", measured(preprocess_spec("dask", 2, study="other"), 1.5))
    assert run(study, tmp_path / "other", "--out", tmp_path / "both") == cli.EXIT_OK
    assert len((tmp_path / "both" / "rows.csv").read_text().splitlines()) == 3
    assert not (study / "rows.csv").exists()


def test_wrong_input_is_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for argv, message in (
        ([tmp_path / "missing"], "no such folder"),
        ([tmp_path / "empty", "--out", tmp_path / "o"], "holds no runs"),
        ([tmp_path], "--out: is needed"),
        ([study, study], "--out: is needed"),
        ([study, "--out", tmp_path / "file"], "is a file"),
        ([study, "--out", tmp_path / "file" / "below"], "Not a directory"),
    ):
        assert run(*argv) == cli.EXIT_USAGE
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1


def test_nothing_heavy_is_loaded(study: Path) -> None:
    script = (
        "import sys; from weather_hpc.collect.__main__ import main\n"
        "heavy = {'numpy', 'matplotlib', 'jinja2', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "main(sys.argv[1:])\n"
        "heavy = {'torch', 'dask', 'submitit', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script, study], check=True)
