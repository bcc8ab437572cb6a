"""The GPUs of the largest run, from its folder to the report."""

import csv
from pathlib import Path

import pytest

from tests.records_maker import leave, measured, train_spec
from weather_hpc.collect.pipeline import collect_study
from weather_hpc.runs.gpus import GpuState, append_gpus
from weather_hpc.runs.paths import RunPaths, StudyPaths

pytestmark = pytest.mark.usefixtures("undrawn_plots")


def on_gpus(root: Path, world_size: int) -> RunPaths:
    strategy = "ddp" if world_size > 1 else "single"
    spec = train_spec(strategy, world_size, task={"device": "cuda"})
    return leave(root, measured(spec, 8.0 / world_size, actual={"device": "cuda"}))


def a_gpu(moment: str, number: int, use_percent: float | None) -> GpuState:
    return GpuState(moment, 1.0, "node1", number, "RTX <3070>", "535.1", use_percent, 2100.5,
                    8192.0, 180.0, 71.0, "P2")  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> StudyPaths:
    """Runs on one, two and four GPUs; the run on four has no nvidia-smi.csv."""
    for world_size in (1, 2):
        seen = [a_gpu("start", n, None if n else 3.0 + world_size) for n in range(4)]
        append_gpus(on_gpus(tmp_path, world_size).gpus, seen)
    on_gpus(tmp_path, 4)
    return StudyPaths(tmp_path)


def gpu_lines(study: StudyPaths) -> list[dict[str, str]]:
    collect_study(study.root)
    with (study.tables / "gpus.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_gpus_of_the_largest_run_with_a_file(study: StudyPaths) -> None:
    lines = gpu_lines(study)
    assert {line["run_id"][:15] for line in lines} == {"train-ddp-cuda-"}
    assert [(line["gpu"], line["use_percent"]) for line in lines] == [
        ("0", "5.0"), ("1", ""), ("2", ""), ("3", ""),
    ]  # fmt: skip
    assert (lines[0]["name"], lines[0]["memory_mb"]) == ("RTX <3070>", "2100.5")
    page = study.report.read_text()
    assert page.index('id="provenance"') < page.index('id="gpus"')
    assert "RTX &lt;3070&gt;" in page
    assert "RTX" in study.report_markdown.read_text()


@pytest.mark.parametrize("content", [b"", b"\x00\xff\n,,\n", b"moment,gpu\nstart,0\n", b'"'])
def test_an_invalid_file_is_skipped(study: StudyPaths, content: bytes) -> None:
    (largest,) = study.runs.glob("train-ddp-cuda-w4-*")
    RunPaths(largest).gpus.write_bytes(content)
    assert {line["run_id"][:18] for line in gpu_lines(study)} == {"train-ddp-cuda-w2-"}


def test_invalid_numbers_are_empty(study: StudyPaths) -> None:
    (largest,) = study.runs.glob("train-ddp-cuda-w4-*")
    append_gpus(RunPaths(largest).gpus, [a_gpu("middle", 0, float("nan"))])
    (line,) = gpu_lines(study)
    assert (line["moment"], line["use_percent"], line["power_w"]) == ("middle", "", "180.0")


def test_without_gpus_the_report_has_no_such_section(tmp_path: Path) -> None:
    leave(tmp_path, measured(train_spec("single", 1), 8.0))
    assert gpu_lines(StudyPaths(tmp_path)) == []
    assert 'id="gpus"' not in StudyPaths(tmp_path).report.read_text()
