"""The section that compares devices: table, plot and sentences of collected runs."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.analysis.rows_maker import ddp
from tests.records_maker import leave, measured, train_spec
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.devices import devices_table
from weather_hpc.collect.pipeline import collect_study
from weather_hpc.report.device_bars import device_bars
from weather_hpc.report.drawing import MOST_BARS
from weather_hpc.runs.record import RunRecord

GPU = "Tesla <P100>"


def on_gpu(time_s: float, repeat: int, strategy: str = "single", ranks: int = 1) -> RunRecord:
    resources = {"cpus_per_node": 2 * ranks, "gpus_per_node": ranks}
    spec = train_spec(strategy, ranks, repeat, task={"device": "cuda"}, resources=resources)
    record = measured(spec, time_s)
    named = [rank.model_copy(update={"device_name": GPU}) for rank in record.actual.ranks]
    dumped = [rank.model_dump() for rank in named]
    return measured(spec, time_s, actual={"device": "cuda", "ranks": dumped})


def sections(root: Path) -> dict[str, Any]:
    """Every section by name, those inside others too."""
    found: dict[str, Any] = {}
    left = json.loads((root / "report.json").read_text())["sections"]
    while left:
        section = left.pop()
        found[section["name"]] = section
        left += section["parts"]
    return found


@pytest.fixture
def on_cpu(tmp_path: Path) -> Path:
    for repeat, factor in enumerate((1.0, 1.02, 0.99)):
        leave(tmp_path, measured(train_spec("single", 1, repeat), 270 * factor))
    return tmp_path


def test_two_devices_have_a_section_a_table_a_plot_and_sentences(on_cpu: Path) -> None:
    for repeat, factor in enumerate((1.0, 1.02, 0.99)):
        leave(on_cpu, on_gpu(79 * factor, repeat))
    summary = collect_study(on_cpu)
    section = sections(on_cpu)["devices"]
    assert section["title"] == "Across devices"
    assert [plot["file"] for plot in section["plots"]] == ["plots/devices.svg"]
    assert "single on cuda, 1 rank, batch 32 / cpu, threads 1" in section["plots"][0]["text"]
    with (on_cpu / "tables" / "devices.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["same configuration", "best of each"]
    assert {(row["device_name"], row["against_name"]) for row in rows} == {(GPU, "A CPU")}
    assert float(rows[0]["ratio"]) == pytest.approx(270 / 79, rel=1e-5)
    said = [text for text in summary["key_findings"] if "times as fast as on cpu (A CPU)" in text]
    assert len(said) == 1
    assert "single on cuda (Tesla <P100>), batch 32, is 3.42 times as fast" in said[0]
    page = (on_cpu / "report.html").read_text()
    assert "Across devices" in page
    assert GPU not in page
    assert "Tesla &lt;P100&gt;" in page
    homes = [n for n, s in sections(on_cpu).items() for t in s["tables"] if t["name"] == "devices"]
    assert homes == ["devices"]


def test_one_device_has_no_section_and_no_plot(on_cpu: Path) -> None:
    collect_study(on_cpu)
    assert "devices" not in sections(on_cpu)
    assert not (on_cpu / "plots" / "devices.svg").exists()
    assert "Across devices" not in (on_cpu / "report.html").read_text()
    assert (on_cpu / "tables" / "devices.csv").read_text().count("\n") == 1


def test_two_devices_without_common_work_have_one_sentence(on_cpu: Path) -> None:
    spec = train_spec("single", 1, task={"device": "cuda", "epochs": 7})
    leave(on_cpu, measured(spec, 10.0, actual={"device": "cuda"}))
    collect_study(on_cpu)
    section = sections(on_cpu)["devices"]
    assert section["sentences"][0] == "No work was measured on more than one of cpu, cuda."
    assert (section["tables"], section["plots"]) == ([], [])


def test_bars_start_at_one_and_the_best_of_each_is_kept() -> None:
    rows = [
        row
        for batch in range(1, 2 * MOST_BARS)
        for device, time_s in (("cpu", 20.0), ("cuda", 40.0 if batch == 1 else 5.0))
        for row in ddp(1, [time_s] * 3, device=device, batch_size_per_device=batch)
    ]
    table = devices_table(compare(rows))
    drawing = device_bars(table)
    assert len(table.rows) == 2 * MOST_BARS
    assert drawing.left_out == MOST_BARS
    assert "best of each" in drawing.text
    assert len(drawing.data) == MOST_BARS
    for row in drawing.data:
        assert any(row.items() <= full.items() for full in table.rows)
    assert drawing.draw is not None
    figure = Figure(figsize=drawing.size)
    drawing.draw(figure)
    (axes,) = figure.axes
    edges = [bar.get_path().get_extents(bar.get_patch_transform()) for bar in axes.patches]
    assert {(edge.x0, edge.x1) for edge in edges} == {(0.5, 1.0), (1.0, 4.0)}
    assert device_bars(devices_table(compare(ddp(1, [1.0])))).draw is None
