"""A warning where many images of a folder are not used."""

import json
import shutil
from pathlib import Path

import pytest

from weather_hpc import cli
from weather_hpc.data.__main__ import main as data
from weather_hpc.dataset.left_out import left_out
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.runs.audit import audit_run
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.reader import images_left_out, read_run

LINKED = "folder that links of several classes lead to"
COPY = "same content as dew/1.jpg, under another class"


@pytest.mark.parametrize(
    ("kept", "reasons", "told"),
    [
        (100, {}, None),
        (100, {"dew/1.jpg": "empty file"}, None),
        (95, {f"dew/{n}.jpg": "empty file" for n in range(5)}, None),
        (3, {"README.md": "lies outside the class folders"}, None),
        (90, {f"dew/{n}.jpg": "empty file" for n in range(10)},
         "10 of 100 image files (10%) are left out: 10 × empty file (dew/0.jpg)"),
        (1, {"a.jpg": "w", "b.jpg": "x", "c.jpg": "y", "d.jpg": "z", "e.jpg": "z"},
         ("5 of 6 image files (83%) are left out: 2 × z (d.jpg), 1 × w (a.jpg), 1 × x (b.jpg) "
         "and 1 other reason")),
        (100, {"fog/1.jpg": COPY},
         (f"1 of 101 image files (1%) are left out: 1 × {COPY} (fog/1.jpg); no image is left "
         "of fog")),
        (100, {"fog": f"{LINKED}: dew and fog", "dew/all.jpg": f"{LINKED}: dew and fog"},
         (f"2 folders are left out: 2 × {LINKED}: dew and fog (dew/all.jpg); no image is left "
         "of fog")),
        (100, {"dew/all": "link to a folder already read: rain"}, None),
    ],
)  # fmt: skip
def test_the_warning(kept: int, reasons: dict[str, str], told: str | None) -> None:
    assert left_out(kept, ["dew", "rain"], reasons) == told


def test_every_verb_that_reads_the_folder_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class that was copied under another name is gone, and no error says so."""
    folder, run = tmp_path / "images", tmp_path / "run"
    make_synthetic(folder, 2)
    shutil.copytree(folder / "dew", folder / "morning")
    warning = (
        "2 of 24 image files (8%) are left out: 2 × same content as dew/…, under another class "
    )
    warning = "2 of 24 image files (8%) are left out: "
    end = "; no image is left of morning"

    assert cli.guarded("data", data, ["verify", str(folder), "--json"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"data: {folder}: {warning}")
    assert json.loads(out)["left_out"] in err

    words = ["--data", str(folder), "--out", str(tmp_path / "store"), "--size", "32"]
    assert cli.guarded("preprocess", preprocess, [*words, "--run-dir", str(run)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"preprocess: {warning}")
    assert f"{end}; see the store's quarantine.csv" in line
    told = images_left_out(RunPaths(run))
    assert told is not None
    assert told in line
    findings = [each for each in audit_run(read_run(run)) if told in each.message]
    assert [(each.severity, each.code) for each in findings] == [("warning", "unreadable_images")]

    assert cli.guarded("data", data, ["verify", str(tmp_path / "store")]) == 0
    assert told in capsys.readouterr().err
