"""What every verb shares: dispatch, exit codes, one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from weather_hpc import __version__, cli
from weather_hpc.__main__ import VERBS, main
from weather_hpc.errors import FailedError, UserError, closest, nearest


def verb(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_under_both_names(name: str) -> None:
    direct, dispatched = verb(f"weather_hpc.{name}", "--help"), verb("weather_hpc", name, "--help")
    assert direct.returncode == dispatched.returncode == 0
    assert direct.stdout == dispatched.stdout
    assert f"weather_hpc.{name}" in direct.stdout
    # `data` has verbs of its own, and --json is theirs; a script is no result
    assert "--json" in direct.stdout or name in ("data", "completion")


@pytest.mark.parametrize("name", VERBS)
def test_a_wrong_option_is_one_line_and_exit_2(name: str) -> None:
    done = verb(f"weather_hpc.{name}", "--no-such-option")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swep"]) == 2
    assert "did you mean 'sweep'?" in capsys.readouterr().err


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"weather_hpc {__version__}"
    assert main([]) == 0
    usage = capsys.readouterr().out
    assert all(f"  {name}" in usage for name in VERBS)


@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("bad\n  input"), 2), (FailedError("bad input"), 1), (KeyboardInterrupt(), 130)],
)
def test_mendable_errors_become_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(argv: object) -> int:
        raise error

    assert cli.guarded("verb", raising, []) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "bad input" in said or "interrupted" in said


def test_a_defect_keeps_its_traceback() -> None:
    def defect(argv: object) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.guarded("verb", defect, [])


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m weather_hpc.sweep --study paper --dry-run | head -1",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("#####")
    assert "Traceback" not in done.stderr


def test_json_is_the_last_line_of_stdout(tmp_path: Path) -> None:
    words = ["--dry-run", "--json", "--only", "preprocess-*", "--results", str(tmp_path)]
    done = verb("weather_hpc.sweep", *words)
    value = json.loads(done.stdout.splitlines()[-1])
    assert value["runs"]
    assert all(run["run_id"].startswith("preprocess-") for run in value["runs"])


@pytest.mark.parametrize(
    ("word", "said"),
    [("dsk", "; did you mean 'dask'?"), ("zzz", "; known: dask, sequential")],
)
def test_nearest(word: str, said: str) -> None:
    assert nearest(word, ["dask", "sequential"]) == said


@pytest.mark.parametrize(
    ("word", "like"),
    [("--out", None), ("--quite", "--quiet"), ("--json_", "--json"), ("--q", "-q")],
)
def test_dashes_make_no_options_alike(word: str, like: str | None) -> None:
    assert closest(word, ["--quiet", "-q", "--json", "--store"]) == like
