"""A results folder of an earlier version (tests/old_results) is resumed, collected and compared.

Its study sweeps decoder, precision and recipe. Its run_ids are of that version.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_reader import read_csv
from tests.sweep.test_sweep_verb import sweep
from weather_hpc.collect.__main__ import main as collect
from weather_hpc.runs.paths import StudyPaths

NAMED = {"preprocess": ["decoder"], "training": ["recipe", "precision"]}
"""The settings in which baselines differ: their names tell them, those of that version did not."""

OLD = Path(__file__).resolve().parents[1] / "old_results"


@pytest.fixture
def old(tmp_path: Path) -> StudyPaths:
    """The folder as that version left it here, without its images and store."""
    paths = StudyPaths(tmp_path / "before")
    shutil.copytree(OLD / "before", paths.root)
    for path in paths.root.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace("@ROOT@", str(paths.root)))
    return paths


def record_texts(paths: StudyPaths) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in paths.runs.glob("*/record.json")}


def measured(texts: dict[str, str]) -> dict[str, str]:
    """Those of runs that ended well, without the one that packs the store."""
    ok = {name: text for name, text in texts.items() if json.loads(text)["status"] == "ok"}
    return {name: text for name, text in ok.items() if not name.startswith("prepare")}


def collected(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert collect([*map(str, arguments), "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return value


def test_it_resumes_under_its_own_names(old: StudyPaths) -> None:
    """Editing the time limit, as the documentation advises, measures nothing again."""
    before = record_texts(old)
    study = old.root.parent / "before.yaml"
    limit = "repeats: 2\ntime_limit_min: 60\n"
    study.write_text((OLD / "before.yaml").read_text().replace("repeats: 2\n", limit))
    done = sweep("--study", study, "--results", old.root, "--json")
    assert done.returncode == 0, done.stderr
    after = record_texts(old)
    assert set(after) == set(before)
    assert measured(after) == measured(before)
    assert len(measured(before)) == 28
    summary = json.loads(done.stdout.splitlines()[-1])
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["runs"], summary["in_tables"]) == (31, 28)


@pytest.mark.usefixtures("undrawn_plots")
def test_it_is_collected_into_the_same_tables(
    old: StudyPaths, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    summary = collected(capsys, old.root, "--out", tmp_path / "again")
    assert (summary["runs"], summary["in_tables"], summary["rejected"]) == (31, 28, 2)
    assert summary["findings"]["error"] == 0, "each decoder packs a store of its own"
    for name in ("preprocess", "training"):
        before = read_csv(old.tables / f"{name}.csv")
        for row in before:
            words = [row["baseline"], *(f"{column} {row[column]}" for column in NAMED[name])]
            row["baseline"] = ", ".join(words) if row["baseline"] else ""
        after = read_csv(tmp_path / "again" / "tables" / f"{name}.csv")
        assert [{key: row[key] for key in before[0]} for row in after] == before
        assert list(after[0])[: len(before[0])] == list(before[0])
    names = [row["run_id"] for row in read_csv(tmp_path / "again" / "rows.csv")]
    assert sorted(names) == sorted(record_texts(old))


@pytest.mark.usefixtures("undrawn_plots")
def test_it_is_its_own_reference(
    old: StudyPaths, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Both with the tables of that version and with those written now."""
    first = collected(capsys, old.root, "--out", tmp_path / "now", "--reference", old.root)
    second = collected(
        capsys, old.root, "--out", tmp_path / "again", "--reference", tmp_path / "now"
    )
    for summary in (first, second):
        assert summary["reference"]["compared"] == 14
        assert summary["reference"]["regressions"] == 0
    verdicts = read_csv(tmp_path / "again" / "tables" / "reference.csv")
    assert {row["verdict"] for row in verdicts if row["ours"]} == {"ok"}
    assert {round(float(row["ratio"]), 4) for row in verdicts if row["ours"]} == {1.0}
