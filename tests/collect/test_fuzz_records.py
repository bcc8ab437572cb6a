"""Run folders with any content: no crash, no lost run, no invented number."""

import copy
import csv
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.broken import replace_file
from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc.collect.pipeline import collect
from weather_hpc.report.section import FirstScreen, Report
from weather_hpc.runs.paths import StudyPaths

QUICK = settings(max_examples=120, deadline=None, derandomize=True, database=None)

JOB = {
    "status": "ok", "job_id": "12_3", "name": "a", "state": "COMPLETED", "source": "sacct",
    "queue_s": 7.25, "elapsed_s": 1801.5, "nodes": 1, "node_list": "node1", "max_rss_mb": 512.5,
    "restarts": 1,
}  # fmt: skip

HEALTHY = (measured(train_spec("single", 1), 10.5), measured(preprocess_spec("dask", 2), 5.5))
VICTIMS = (measured(train_spec("ddp", 2), 6.125), measured(preprocess_spec("dask", 2, 1), 5.25))

FILES = ("record.json", "spec.json", "slurm.json", "exit.json", "events.jsonl")

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2.75, 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf"),
    "", "7", "ok", "1e9", "\ud800\x00|<b>&\n", "漢字" * 50, [], {}, [1], {"a": [{}]},
    "2026", 10**14,
)  # fmt: skip


def _whole(victim: int) -> dict[str, Any]:
    """The files of a completed run, parsed; events as a list of lines."""
    with tempfile.TemporaryDirectory() as name:
        run = leave(Path(name), VICTIMS[victim])
        files: dict[str, Any] = {
            "record.json": json.loads(run.record.read_text()),
            "spec.json": json.loads(run.spec.read_text()),
            "slurm.json": JOB,
            "exit.json": {"code": 0, "ended_at": "2026-01-01T00:00:20Z"},
        }
        if run.events.exists():
            files["events.jsonl"] = [json.loads(x) for x in run.events.read_text().splitlines()]
        return files


WHOLE = tuple(_whole(index) for index in range(len(VICTIMS)))


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside ``value``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inside:
        yield (*at, key)
        if isinstance(part, dict | list):
            yield from _places(part, (*at, key))


@st.composite
def mutated_values(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """The number of the victim, and its files after one to three changes."""
    victim = draw(st.integers(0, len(VICTIMS) - 1))
    files = copy.deepcopy(WHOLE[victim])
    for _ in range(draw(st.integers(1, 3))):
        value = files[draw(st.sampled_from(sorted(files)))]
        places = list(_places(value))
        if not places:
            continue
        *path, last = draw(st.sampled_from(places))
        for key in path:
            value = value[key]
        match draw(st.sampled_from(["drop", "odd", "wrap", "add"])):
            case "drop":
                del value[last]
            case "odd":
                value[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "wrap":
                value[last] = [value[last]]
            case "add" if isinstance(value, dict):
                value["unknown"] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return victim, files


def _as_bytes(name: str, value: Any) -> bytes:
    if name == "events.jsonl":
        return "".join(json.dumps(line) + "\n" for line in value).encode()
    return json.dumps(value, indent=2).encode()


@contextmanager
def study(victim: int, files: dict[str, bytes]) -> Iterator[tuple[Path, Path]]:
    """A study of healthy runs and a victim with ``files``: the folders of both."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "study"
        for record in HEALTHY:
            leave(root, record)
        folder = StudyPaths(root).run(VICTIMS[victim].run_id).root
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        yield root, folder


@contextmanager
def without_plots() -> Iterator[None]:
    """Collecting without plots and page, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        nothing = Report("", FirstScreen(""), [])
        patch.setattr("weather_hpc.collect.pipeline.write_report", lambda *_: nothing)
        yield


def collected(root: Path) -> dict[str, dict[str, str]]:
    """Collect ``root``; returns its rows by folder. Checks what holds for any content."""
    summary = collect([root], root)
    to = StudyPaths(root)
    with to.rows.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with to.rejects.open(newline="") as file:
        rejects = list(csv.DictReader(file))

    folders = sorted(str(folder.resolve()) for folder in to.runs.iterdir())
    assert sorted(row["source"] for row in rows) == folders
    assert summary["runs"] == len(rows) == summary["in_tables"] + summary["rejected"]
    assert all(reject["reason"] for reject in rejects)
    left = sorted(row["run_id"] for row in rows if not row["table"])
    assert left == sorted(reject["run_id"] for reject in rejects)
    for table in ("preprocess", "training"):
        lines = json.loads((to.tables / f"{table}.json").read_text())
        assert sum(line["runs"] for line in lines) == sum(row["table"] == table for row in rows)
    return {row["source"]: row for row in rows}


def neighbours(rows: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The rows of the healthy runs, without the folder, which differs."""
    ids = {record.run_id for record in HEALTHY}
    return {
        Path(source).name: row | {"source": ""}
        for source, row in rows.items()
        if Path(source).name in ids
    }


@pytest.fixture(scope="module")
def healthy() -> dict[str, dict[str, str]]:
    """The rows of the healthy runs next to a healthy victim."""
    files = {name: _as_bytes(name, value) for name, value in WHOLE[0].items()}
    with without_plots(), study(0, files) as (root, _):
        rows = neighbours(collected(root))
    assert all(row["table"] and row["time_s"] for row in rows.values())
    return rows


PARTS = {
    "phases": ("queue", "startup", "warmup", "data_wait", "compute", "communication", "checkpoint",
               "evaluation", "total"),
    "counts": ("images", "quarantined", "duplicates", "steps", "test_images"),
    "quality": ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "parameters"),
    "usage": ("host_memory_peak_mb", "device_memory_peak_mb", "device_use_percent", "energy_j",
              "foreign_cpu_percent"),
}  # fmt: skip

SOURCES: dict[str, list[tuple[str, ...]]] = {
    "time_s": [("record.json", "time_s")],
    "images_per_s": [("record.json", "images_per_s")],
    "epochs_done": [("record.json", "counts", "epochs")],
    "world_size_actual": [("record.json", "actual", "world_size")],
    "slurm_elapsed_s": [("slurm.json", "elapsed_s")],
    "slurm_max_rss_mb": [("slurm.json", "max_rss_mb")],
    **{f"{n}_s": [("record.json", "phases", n)] for n in PARTS["phases"]},
    **{n: [("record.json", p, n)] for p in ("counts", "quality", "usage") for n in PARTS[p]},
    "cpu_count": [("record.json", "provenance", "cpu_count")],
}
"""The places from which each measured value of a row may come."""
SOURCES["queue_s"].append(("slurm.json", "queue_s"))


def _number(values: Any, path: tuple[str, ...]) -> float | None:
    """The number at ``path``, perhaps as text; None for True."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    try:
        return None if isinstance(values, bool) else float(str(values))
    except ValueError:
        return None


def _with_true(victim: int, file: str, *path: str) -> tuple[int, dict[str, Any]]:
    files = copy.deepcopy(WHOLE[victim])
    value = files[file]
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = True
    return victim, files


@given(mutated_values())
@QUICK
@example(_with_true(0, "record.json", "time_s"))
@example(_with_true(0, "record.json", "counts", "epochs"))
@example(_with_true(0, "slurm.json", "elapsed_s"))
def test_changed_values(
    healthy: dict[str, dict[str, str]], mutated: tuple[int, dict[str, Any]]
) -> None:
    victim, values = mutated
    files = {name: _as_bytes(name, value) for name, value in values.items()}
    with without_plots(), study(victim, files) as (root, folder):
        rows = collected(root)
    assert neighbours(rows) == healthy
    row = rows[str(folder.resolve())]
    for column, places in SOURCES.items():
        if row[column]:
            assert float(row[column]) in [_number(values, place) for place in places], column
    if row["node_hours"]:
        seconds = row["slurm_elapsed_s"] or row["total_s"]
        assert float(row["node_hours"]) == pytest.approx(
            float(row["nodes"]) * float(seconds) / 3600
        )


@given(
    victim=st.integers(0, len(VICTIMS) - 1),
    name=st.sampled_from(FILES),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
)
@QUICK
@example(victim=0, name="record.json", cut=0.0, flips=[])
@example(victim=0, name="record.json", cut=0.999, flips=[])
def test_changed_bytes(
    healthy: dict[str, dict[str, str]],
    victim: int,
    name: str,
    cut: float,
    flips: list[tuple[float, int]],
) -> None:
    files = {file: _as_bytes(file, value) for file, value in WHOLE[victim].items()}
    content = bytearray(files.get(name, b""))
    del content[round(len(content) * cut) :]
    for where, byte in flips:
        if content:
            content[int(len(content) * where)] = byte
    with without_plots(), study(victim, files | {name: bytes(content)}) as (root, _):
        assert neighbours(collected(root)) == healthy


def _replace_file(path: Path, kind: str) -> None:
    """Put something at ``path`` that is not a readable file."""
    path.touch()
    if kind == "unreadable":
        path.write_bytes(b"")
        path.chmod(0)
    else:
        replace_file(path, kind)


@pytest.mark.parametrize("kind", ["folder", "loop", "nowhere", "pipe", "device", "unreadable"])
@pytest.mark.parametrize("name", [*FILES, "stderr.log"])
def test_things_that_are_no_file(healthy: dict[str, dict[str, str]], name: str, kind: str) -> None:
    files = {file: _as_bytes(file, value) for file, value in WHOLE[0].items()}
    with without_plots(), study(0, files) as (root, folder):
        _replace_file(folder / name, kind)
        if name == "stderr.log":
            (folder / "record.json").unlink()
        rows = collected(root)
        assert neighbours(rows) == healthy
        row = rows[str(folder.resolve())]
    assert bool(row["table"]) == (name not in ("record.json", "stderr.log"))


@pytest.mark.parametrize("kind", ["file", "loop", "nowhere", "pipe", "empty"])
def test_a_run_folder_that_is_not_a_folder(healthy: dict[str, dict[str, str]], kind: str) -> None:
    with without_plots(), study(0, {}) as (root, folder):
        if kind != "empty":
            folder.rmdir()
        if kind == "file":
            folder.write_text("{}")
        elif kind != "empty":
            _replace_file(folder, kind)
        collect([root], root)
        with StudyPaths(root).rows.open(newline="") as file:
            rows = {row["source"]: row for row in csv.DictReader(file)}
    assert neighbours({s: r for s, r in rows.items() if r["table"]}) == healthy
    assert len(rows) == len(HEALTHY) + (kind == "empty")


@given(mutated_values())
@settings(QUICK, max_examples=2)
def test_collecting_with_plots_and_page(mutated: tuple[int, dict[str, Any]]) -> None:
    victim, values = mutated
    files = {name: _as_bytes(name, value) for name, value in values.items()}
    with study(victim, files) as (root, _):
        collected(root)
        assert (root / "report.html").stat().st_size > 1000
