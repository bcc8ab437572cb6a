"""The main verb from end to end, with real runs on this machine."""

import csv
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.nasty import plain_folder
from weather_hpc.runs.forecast_file import read_forecast
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.sweep.__main__ import main

STUDY = """\
name: tiny
repeats: 1
image_size: 64
preprocess:
  - backend: sequential
  - backend: [multiprocessing, dask]
    workers: 2
train:
  - strategy: single
    device: cpu
    model: weather_net
    epochs: 1
    warmup_steps: 1
  - strategy: ddp
    device: cpu
    model: weather_net
    world_size: 2
    epochs: 1
    warmup_steps: 1
  - strategy: [single, ddp]
    device: cuda
    model: weather_net
    epochs: 1
"""


def sweep(*arguments: object, **settings: Any) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "weather_hpc.sweep", "--executor", "local", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, **settings)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def records(paths: StudyPaths) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in paths.runs.glob("*/record.json")]


def median_time(all_records: list[dict[str, Any]], **task: object) -> float:
    """The median measured time of the records whose task has these settings."""
    times = [
        record["time_s"]
        for record in all_records
        if record["status"] == "ok"
        and record["spec"]["stage"] != "prepare"
        and all(record["spec"]["task"].get(key) == value for key, value in task.items())
    ]
    return float(statistics.median(times))


@pytest.mark.images
@pytest.mark.timeout(900)
def test_photographs_to_tables(shared_images: Path, tmp_path: Path) -> None:
    """Sweep and collect on 40 photographs of each class of weather5.

    The tables' speedups are recomputed from the records.
    """
    for file in sorted((shared_images / "weather5").glob("*/*")):
        to = tmp_path / "weather5" / file.parent.name
        to.mkdir(parents=True, exist_ok=True)
        if len(list(to.iterdir())) < 40:
            shutil.copy(file, to)
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY)
    paths = StudyPaths(tmp_path / "results")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.fail("this test compares 1 and 2 workers: it needs 2 CPUs")
    options = ("--study", study, "--data", tmp_path / "weather5", "--results", paths.root)
    done = sweep(*options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["ran"]["done"] == 6

    first_records = records(paths)
    preprocess = table(paths.tables / "preprocess.csv")
    assert [(row["backend"], row["workers"]) for row in preprocess] == [
        ("sequential", "1"), ("multiprocessing", "2"), ("dask", "2"),
    ]  # fmt: skip
    base = median_time(first_records, backend="sequential")
    for row in preprocess:
        time_s = median_time(first_records, backend=row["backend"], workers=int(row["workers"]))
        assert float(row["time_s"]) == pytest.approx(time_s, rel=1e-3)
        assert float(row["speedup"]) == pytest.approx(base / time_s, rel=1e-3)
        efficiency = base / time_s / int(row["workers"])
        assert float(row["efficiency"]) == pytest.approx(efficiency, rel=1e-3)

    training = table(paths.tables / "training.csv")
    measured = [row for row in training if row["device"] == "cpu"]
    assert [(row["strategy"], row["world_size"]) for row in measured] == [
        ("single", "1"), ("ddp", "2"),
    ]  # fmt: skip
    base = median_time(first_records, strategy="single", device="cpu")
    for row in measured:
        time_s = median_time(
            first_records,
            strategy=row["strategy"],
            device="cpu",
            world_size=int(row["world_size"]),
        )
        assert float(row["speedup"]) == pytest.approx(base / time_s, rel=1e-3)
        assert 0.0 <= float(row["test_accuracy"]) <= 1.0

    # runs that this machine cannot make are listed, without measurements
    skipped = [row for row in training if row["device"] == "cuda"]
    assert len(skipped) == 2
    assert all(row["time_s"] == "" and row["speedup"] == "" for row in skipped)
    assert all("CUDA" in row["note"] for row in skipped)
    assert {r["status"] for r in table(paths.rejects)} == {"skipped"}

    # all backends packed the same pixels
    checksums = {
        record["quality"]["store_checksum"]
        for record in first_records
        if record["spec"]["stage"] == "preprocess"
    }
    assert len(checksums) == 1
    assert None not in checksums
    assert "<html" in paths.report.read_text()
    assert list(paths.plots.glob("*.svg"))

    # run again: nothing is done twice
    before = {record["run_id"]: record["provenance"]["started_at"] for record in first_records}
    again = sweep(*options)
    assert again.returncode == 0, again.stderr
    after = {r["run_id"]: r["provenance"]["started_at"] for r in records(paths)}
    measured_ids = [r["run_id"] for r in first_records if r["status"] == "ok"]
    assert {k: after[k] for k in measured_ids} == {k: before[k] for k in measured_ids}


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, StudyPaths]:
    """A study of two preprocessing runs on eleven small synthetic images."""
    study = tmp_path / "small.yaml"
    study.write_text(
        "name: small\nrepeats: 2\nimage_size: 32\nsynthetic: {images_per_class: 1}\n"
        "preprocess:\n  - backend: sequential\n"
    )
    return study, StudyPaths(tmp_path / "results")


def test_other_runs_continue_after_a_failure_which_is_retried(
    small: tuple[Path, StudyPaths], tmp_path: Path
) -> None:
    study, paths = small
    site = tmp_path / "site.yaml"
    python = tmp_path / "python"
    # fails for the first run only, as long as the file `broken` is there
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *-r0-*) [ -e {tmp_path}/broken ] && '
        f'{{ echo "no luck" >&2; exit 3; }};; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    site.write_text(f"python: {python}\n")
    (tmp_path / "broken").touch()
    options = ("--study", study, "--site", site, "--results", paths.root)
    done = sweep(*options)
    assert done.returncode == 1
    assert "stderr.log" in done.stderr
    (reject,) = table(paths.rejects)
    assert reject["status"] in ("failed", "incomplete")
    assert "3" in reject["reason"]
    assert table(paths.tables / "preprocess.csv")[0]["runs"] == "1"

    status = sweep("status", "--results", paths.root, "--json")
    states = json.loads(status.stdout.splitlines()[-1])["states"]
    assert sorted(states.values()) == ["done", "failed"]

    (tmp_path / "broken").unlink()
    done = sweep(*options, "--only-failed")
    assert done.returncode == 0, done.stderr
    assert table(paths.rejects) == []
    assert table(paths.tables / "preprocess.csv")[0]["runs"] == "2"


@pytest.fixture
def failing(small: tuple[Path, StudyPaths], tmp_path: Path) -> tuple[list[object], StudyPaths]:
    """Options of a sweep of five runs, whose program fails as long as ``broken`` is there."""
    study, paths = small
    study.write_text(study.read_text().replace("repeats: 2", "repeats: 5"))
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nif [ -e {tmp_path}/broken ]; then\n"
        '  echo "process $$: no libjpeg.so" >&2\n  exit 3\n'
        f'fi\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    (tmp_path / "site.yaml").write_text(f"python: {python}\n")
    (tmp_path / "broken").touch()
    options = ["--study", study, "--site", tmp_path / "site.yaml", "--results", paths.root]
    return options, paths


def test_a_sweep_stops_where_the_first_runs_fail_alike(
    failing: tuple[list[object], StudyPaths], tmp_path: Path
) -> None:
    options, paths = failing
    done = sweep(*options, "--json")
    assert done.returncode == 1
    assert "the first 3 runs of stage preprocess failed alike: exit code 3" in done.stderr
    assert "no libjpeg.so" in done.stderr
    assert "2 runs not made: sweep again once the cause is fixed, or with --keep-going" in (
        done.stderr
    )
    shown = json.loads(done.stdout.splitlines()[-1])
    assert shown["ran"] == {"failed": 3, "todo": 2}
    assert "failed alike" in shown["stopped"]["preprocess"]
    reasons = [row["reason"] for row in table(paths.rejects)]
    assert reasons.count("planned, never started") == 2

    again = sweep(*options, "--keep-going", "--json")
    assert again.returncode == 1
    shown = json.loads(again.stdout.splitlines()[-1])
    assert (shown["ran"], shown["stopped"]) == ({"failed": 5}, {})

    (tmp_path / "broken").unlink()
    assert sweep(*options).returncode == 0
    assert {record["status"] for record in records(paths)} == {"ok"}


def test_staged_sweeps_stop_too(failing: tuple[list[object], StudyPaths]) -> None:
    options, _ = failing
    study = Path(str(options[1]))
    study.write_text(study.read_text().replace("sequential\n", "dask\n    workers: [1, 2, 4]\n"))
    site = Path(str(options[3]))
    site.write_text(site.read_text() + "oversubscribe: true\n")
    done = sweep(*options, "--staged", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["ran"] == {"failed": 3, "todo": 12}


def every_file(root: Path) -> dict[Path, tuple[int, bytes]]:
    """When each file was changed, and what it holds."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def assert_can_be_followed(paths: StudyPaths, sweep_pid: int) -> None:
    """Follow the sweep until its second run is shown, and leave it by Ctrl-C."""
    follower = subprocess.Popen(
        [sys.executable, "-m", "weather_hpc.sweep", "status", "--follow", "--results",
         str(paths.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    shown = [follower.stdout.readline() for _ in range(5)]
    follower.send_signal(signal.SIGINT)
    _, stderr = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert stderr == "not followed any longer; the runs go on\n"
    assert shown[0] == "study small: 1 of 2 runs done, 1 running\n"
    assert re.fullmatch(r"about \d+ s left for 1 run\n|should end any moment.*\n", shown[1])
    assert re.fullmatch(r"running  \S+-r1-\S+: starts; for \d+ s, .*\n", shown[3])
    assert shown[4].startswith(f"a sweep is running as pid {sweep_pid} on ")


def test_interrupt_and_resume(small: tuple[Path, StudyPaths], tmp_path: Path) -> None:
    study, paths = small
    site = tmp_path / "site.yaml"
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *-r1-*) [ -e {tmp_path}/slow ] && '
        f'{{ touch {tmp_path}/reached; exec sleep 600; }};; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    site.write_text(f"python: {python}\n")
    (tmp_path / "slow").touch()
    options = ["--study", str(study), "--site", str(site), "--results", str(paths.root)]
    process = subprocess.Popen(
        [sys.executable, "-m", "weather_hpc.sweep", "--executor", "local", "--live", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert "Live: 0 of 2 runs done, 2 to come; time left not known" in paths.report.read_text()
    before = every_file(paths.root)
    assert_can_be_followed(paths, process.pid)
    assert every_file(paths.root) == before
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert {r["status"] for r in records(paths)} == {"ok", "cancelled"}
    (left,) = re.findall(r'<p id="live"[^>]*>[^<]*', paths.report.read_text())
    assert "interrupted (SIGINT); sweep again to resume." in left
    assert "data-reload" not in left

    (tmp_path / "slow").unlink()
    first = {r["run_id"]: r["provenance"]["started_at"] for r in records(paths)
             if r["status"] == "ok"}  # fmt: skip
    done = sweep(*options)
    assert done.returncode == 0, done.stderr
    assert 'id="live"' not in paths.report.read_text()
    assert {r["status"] for r in records(paths)} == {"ok"}
    now = {r["run_id"]: r["provenance"]["started_at"] for r in records(paths)}
    assert first.items() <= now.items()


def test_a_run_past_its_time_limit_is_ended_and_named(
    small: tuple[Path, StudyPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weather_hpc.launch import local_executor
    from weather_hpc.study.config import load_study
    from weather_hpc.study.plan import make_plan
    from weather_hpc.study.site import SiteProfile

    study, paths = small
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    plan = make_plan(load_study(str(study)), str(tmp_path))
    executor = local_executor.LocalExecutor(plan, paths, SiteProfile(python=str(python)))
    monkeypatch.setattr(local_executor, "SECONDS_PER_MINUTE", 0.01)
    ended = executor.run(plan.runs[:1])
    assert [str(state) for state in ended.values()] == ["failed"]
    (record,) = records(paths)
    assert record["status"] == "timeout"
    assert "time limit" in record["reason"]


def test_dry_run_writes_nothing(small: tuple[Path, StudyPaths]) -> None:
    study, paths = small
    done = sweep("--study", study, "--results", paths.root, "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("#!/usr/bin/env bash") == 2
    assert not paths.root.exists()


def test_the_forecast_uses_runs_and_the_budget_counts_them(
    small: tuple[Path, StudyPaths],
) -> None:
    study, paths = small
    options = ("--study", study, "--results", paths.root, "--json")
    first = sweep(*options)
    assert first.returncode == 0, first.stderr
    assert "no earlier run to estimate from; at most 2 node-hours by the time" in first.stderr
    study.write_text(study.read_text().replace("repeats: 2", "repeats: 3"))

    shown = sweep(*options, "--dry-run")
    costs = json.loads(shown.stdout.splitlines()[-1])["forecast"]
    assert (costs["runs"], costs["from_earlier"], costs["at_most"]) == (1, 1, 1.0)
    hours = sorted(float(row["node_hours"]) for row in table(paths.rows))
    assert costs["used"] == pytest.approx(sum(hours), rel=1e-3)
    assert hours[0] <= costs["node_hours"] * 1.001 <= hours[1] * 1.002

    plan = paths.plan.read_text()
    for limit, why in (
        (0.9 * costs["used"], "the budget is spent"),
        # the estimate would fit, but the run may go on until its time limit
        (costs["used"] + 0.9, "no configuration fits"),
    ):
        refused = sweep(*options, "--max-node-hours", limit)
        assert refused.returncode == 2
        assert f"nothing was submitted; {why}" in refused.stderr
    assert paths.plan.read_text() == plan
    assert len(records(paths)) == 2
    assert sweep(*options, "--max-node-hours", "1.5").returncode == 0
    assert len(records(paths)) == 3

    kept = read_forecast(paths)
    assert [kept[record["run_id"]].at_most for record in records(paths)] == [1.0, 1.0, 1.0]
    forecast_hours = [expected.node_hours for expected in kept.values()]
    assert [value for value in forecast_hours if value is not None] == [
        pytest.approx(costs["node_hours"])
    ]
    assert forecast_hours.count(None) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-node-hours", "-1"], "-1 must be a number of node-hours"),
        (["--max-node-hours", "nan"], "nan must be a number of node-hours"),
        (["--max-node-hours", "two"], "two must be a number of node-hours"),
        (["--staged", "--efficiency-floor", "1.5"], "1.5 must be a number above 0 up to 1"),
        (["--efficiency-floor", "0.4"], "--efficiency-floor needs --staged"),
    ],
)
def test_wrong_limits_are_one_line_and_exit_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-node-hours", "0.5", "--only", "pre*"], "nothing was submitted"),
        (["--study", "papr"], "did you mean 'paper'?"),
        (["--data", "no/such/folder"], "no such folder"),
        (["--only", "nothing-*"], "matches no run"),
        (["--site", "no/site.yaml"], "no file"),
        (["status", "--results", "no/such/results"], "no study has been run here"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    options: list[str], message: str, tmp_path: Path
) -> None:
    done = sweep(*options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("image_size: 128\ntrain: [{strategy: single}]", "study.yaml:2: image_size: paper_cnn"),
        ("train: [{strategy: single, model: resnet81}]", "did you mean 'resnet18'?"),
        (
            "train: [{strategy: ddp, world_size: 24, device: cpu, batch_size: 1}]",
            "study.yaml:2: train[0].batch_size: 1 (per-device) with world_size 24 leaves 0 images",
        ),
        (
            "scaling: weak\nimages_per_worker: 12\npreprocess: [{backend: dask, workers: [1, 4]}]",
            "4 times 12 are 48 images, but the synthetic data (images_per_class: 4) has 44 images",
        ),
    ],
)
@pytest.mark.parametrize("options", [["--dry-run"], [], ["--executor", "slurm", "--dry-run"]])
def test_a_study_that_cannot_work_is_refused_before_anything_is_written(
    study: str, message: str, options: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"name: s\n{study}\nsynthetic: {{images_per_class: 4}}\n")
    done = sweep("--study", file, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_a_check_refuses_a_study_that_cannot_work(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: s\ntrain: [{strategy: single, model: resnet81}]\n")
    done = sweep("check", "--study", file, "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{file}:2: train[0].model: resnet81: no such network" in done.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_a_data_folder_with_too_few_images_is_refused(tmp_path: Path) -> None:
    images = plain_folder(tmp_path / "images", per_class=5)
    options = ("--data", images, "--results", tmp_path / "results")
    done = sweep("--study", "weak", *options)
    assert done.returncode == 2
    assert f"{images} has 12 training images: use at most 3, or fewer workers" in done.stderr
    assert "hpc/studies/weak.yaml:" in done.stderr
    for file in images.rglob("*.jpg"):
        file.write_text("no picture")
    done = sweep("--study", "weak", *options, "--dry-run")
    assert done.returncode == 2
    assert f"{images}: no usable image in any class folder" in done.stderr
    assert not (tmp_path / "results").exists()


def test_the_installed_command_is_the_same_verb() -> None:
    command = shutil.which("weather-hpc", path=str(Path(sys.executable).parent))
    assert command is not None
    done = subprocess.run([command, "sweep", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: weather-hpc sweep ")
