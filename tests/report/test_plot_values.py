"""The values of every plot, which the page offers as CSV: there, flat, and those of the tables."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import weather_hpc
from tests.report.gpu_study import leave_gpu_study
from tests.report.many_rows import many_rows
from weather_hpc.analysis.comparison import compare
from weather_hpc.api import Results
from weather_hpc.report.collected import Collected
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.gantt import gantt
from weather_hpc.report.pareto import pareto
from weather_hpc.report.timeline import Timeline

EXAMPLE = Path(__file__).parents[2] / "results" / "example"

TABLES = {
    "strategy_map": "training", "best_speedup": "training", "training_speedup": "training",
    "training_efficiency": "training", "training_time": "training", "training_batch": "training",
    "preprocess_speedup": "preprocess", "preprocess_efficiency": "preprocess",
    "preprocess_time": "preprocess", "phases_preprocess": "phases", "phases_train": "phases",
    "used_of_asked": "utilisation", "images_per_joule": "utilisation", "node_hours": "sweep",
}  # fmt: skip
"""Plots and the tables that have the same columns."""


@pytest.fixture(scope="module", params=["example", "gpus"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    if request.param == "example":
        return weather_hpc.load(EXAMPLE)
    root = tmp_path_factory.mktemp("gpus")
    leave_gpu_study(root)
    return weather_hpc.load(root)


def test_every_plot_has_flat_values(results: Results) -> None:
    drawn = results.report.drawn
    assert len(drawn) > 10
    for plot in drawn:
        assert plot.data, plot.name
        for row in plot.data:
            for column, value in row.items():
                flat = value is None or isinstance(value, str | int | float | bool)
                assert flat, (plot.name, column, value)


def test_values_are_those_of_the_tables(results: Results) -> None:
    tables = {table.name: table.rows for part in results.report.parts for table in part.tables}
    compared = 0
    for plot in results.report.drawn:
        for values in plot.data if plot.name in TABLES else ():
            if not str(values.get("origin", "")).startswith("published"):
                same = [row for row in tables[TABLES[plot.name]] if _same(values, row)]
                assert len(same) == 1, (plot.name, values)
                compared += 1
    assert compared > 15


def _same(values: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether the plotted ``values`` are equal to those of ``row``, where that has their column."""
    return all(
        row[column] == (pytest.approx(value) if isinstance(value, float) else value)
        for column, value in values.items()
        if column in row and value is not None
    )


def test_points_from_elsewhere_and_baselines_say_so(results: Results) -> None:
    plots = {plot.name: plot for plot in results.report.drawn}
    origins = {row["origin"] for row in plots["training_speedup"].data}
    assert "here" in origins
    assert any(origin.startswith("published, ") for origin in origins)
    baselines = [row for row in plots["training_time"].data if row["origin"] == "baseline"]
    assert {(row["strategy"], row["world_size"]) for row in baselines} == {("single", 1)}


def _plot(results: Results, name: str) -> Drawing:
    return next(plot for plot in results.report.drawn if plot.name == name)


def test_the_sweep_has_a_row_for_each_run(results: Results) -> None:
    rows = _plot(results, "sweep").data
    assert len({row["run_id"] for row in rows}) == len(rows) > 5
    for row in rows:
        known = ("submitted_s", "started_s", "ready_s", "measured_until_s", "ended_s")
        times = [row[name] for name in known if row[name] is not None]
        assert times == sorted(times)


def test_samples_are_thinned_as_they_are_drawn(tmp_path: Path) -> None:
    leave_gpu_study(tmp_path, repeats=1, samples=2000)
    rows = _plot(weather_hpc.load(tmp_path), "telemetry").data
    samples = [row for row in rows if "cpus_in_use" in row]
    runs = {row["run"] for row in samples}
    assert len(samples) == 300 * len(runs)
    assert len(rows) > len(samples)  # evaluations and checkpoints
    assert max(row["gpu_use_percent"] for row in samples) < 100
    assert max(row["cpus_of_others"] for row in samples) == 1.5


def test_of_very_many_runs_the_numbers_that_ran_are_the_values() -> None:
    rows = many_rows(900, 1)
    timeline = Timeline.of(compare([replace(row, node_hours=0.1) for row in rows]))
    drawing = gantt(timeline)
    assert 0 < len(drawing.data) <= 6000
    seconds = sum((row["end_s"] - row["begin_s"]) * row["running"] for row in drawing.data)
    ran = sum(span.last(timeline.now) - (span.start or 0) for span in timeline.spans)
    assert seconds == pytest.approx(ran, rel=0.02)


def test_only_drawn_points_are_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weather_hpc.report.pareto.MOST_POINTS", 20)
    rows = [replace(row, node_hours=(row.time_s or 0) / 3600) for row in many_rows(60, 1)]
    drawing = pareto(Collected(compare(rows)))
    assert len(drawing.data) == 20
    assert drawing.left_out > 0
