"""Plots with more curves or bars than fit: some are drawn, the rest is counted."""

import re
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from tests.analysis.test_scaling import array_run
from tests.report.many_rows import many_rows
from weather_hpc.analysis.comparison import compare
from weather_hpc.report.curve import Curve, Point, by_workers
from weather_hpc.report.drawing import MARKERS, MOST_BARS, MOST_LINES, render
from weather_hpc.report.line_plot import SHARED, LinePlot
from weather_hpc.report.parts import part_bars
from weather_hpc.report.phases import phase_bars, phase_times
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage


def test_of_many_curves_some_are_drawn_and_the_rest_counted() -> None:
    curves = by_workers(compare(many_rows(400, 1)).training.table, "time_s")
    assert len(curves) > MOST_LINES
    drawing = LinePlot("time", "Time", "workers", "s", curves, "nothing", "time_s").drawing()
    shown = drawing.text.count(";") + 1
    assert 4 < shown <= 4 * MOST_LINES  # four strategies, a panel each
    assert drawing.left_out == len(curves) - shown


def test_of_many_bars_the_longest_are_drawn() -> None:
    rows = many_rows(400, 1)
    times = phase_times(compare(rows))
    drawing = phase_bars("train", "Training", times)
    assert drawing.text.count("compute") == MOST_BARS
    assert drawing.left_out == len(times) - MOST_BARS
    longest = max(times, key=lambda one: one.seconds["compute_s"] or 0)
    assert longest.label in drawing.text
    assert phase_bars("preprocess", "Preprocessing", times).draw is None


def test_bars_stand_side_by_side_and_axes_fit_what_they_show() -> None:
    lines = [
        Curve(name, (Point(1.0, time_s, 0.9 * time_s, 1.1 * time_s), Point(2.0, time_s / 2)))
        for name, time_s in (("a", 90.0), ("b", 91.0))
    ]
    drawing = LinePlot("time", "Time", "workers", "s", lines, "nothing", "time_s").drawing()
    assert drawing.draw is not None
    figure = Figure(figsize=drawing.size)
    drawing.draw(figure)
    (axes,) = figure.axes
    drawn = [line for line in axes.get_lines() if line.get_marker() in MARKERS[:2]]
    firsts = [float(np.asarray(line.get_xdata())[0]) for line in drawn]
    assert firsts[0] < 1 < firsts[1]
    low, high = axes.get_ylim()
    assert 36 < low < 45
    assert 100.1 < high < 125
    assert len(axes.get_yticks()) >= 3


def test_ticks_of_many_worker_counts_keep_apart() -> None:
    points = tuple(Point(float(x), 1.0 / x) for x in range(1, 65))
    drawing = LinePlot(
        "time", "Time", "workers", "s", [Curve("a", points)], "nothing", "time_s"
    ).drawing()
    assert drawing.draw is not None
    svg = render(drawing.name, drawing.draw, drawing.size).svg
    ticks = [
        int(tick) for tick in re.findall(r">(\d+)</text>", svg.split('id="matplotlib.axis_2"')[0])
    ]
    assert {1, 2, 4, 8, 16, 32, 64} <= set(ticks)
    assert len(ticks) <= 12


def test_a_curve_without_a_name_is_drawn_without_a_legend() -> None:
    curves = [Curve("", (Point(1.0, 2.0),))]
    drawing = LinePlot("time", "Time", "workers", "s", curves, "nothing", "time_s").drawing()
    assert drawing.draw is not None
    figure = Figure(figsize=drawing.size)
    drawing.draw(figure)  # a legend of nothing would warn
    assert figure.legends == []


def test_points_whose_workers_shared_cpus_have_a_ring_and_say_so() -> None:
    rows = [
        Row(
            run_id=f"r{workers}", source="x", status="ok", stage="preprocess", table="preprocess",
            backend="multiprocessing", workers=workers, time_s=8.0 / workers, cpus=min(workers, 2),
            oversubscribed="as asked for" if workers > 2 else None, configuration=f"c{workers}",
        )
        for workers in (1, 2, 16)
    ]  # fmt: skip
    curves = by_workers(compare(rows).preprocess.table, "time_s")
    drawing = LinePlot("time", "Time", "workers", "s", curves, "nothing", "time_s").drawing()
    assert "1: 8, 2: 4, 16: 0.5 (more threads than CPUs)." in drawing.text
    assert drawing.draw is not None
    figure = Figure(figsize=drawing.size)
    drawing.draw(figure)
    (axes,) = figure.axes
    (ring,) = (line for line in axes.get_lines() if line.get_label() == SHARED)
    assert np.asarray(ring.get_xydata()).tolist() == [[16, 0.5]]
    assert SHARED in [text.get_text() for text in figure.legends[0].get_texts()]


def test_parts_of_exploration_are_stacked_and_named() -> None:
    rows = [
        Row(
            run_id=f"r{workers}", source="x", status="ok", stage="eda", table="eda", study="s",
            backend=backend, workers=workers, time_s=4.0 / workers, reading_s=0.5,
            augmentation_s=3.0, configuration=f"c{workers}",
        )
        for backend, workers in (("sequential", 1), ("dask", 2))
    ]  # fmt: skip
    table = compare(rows).by_stage[Stage.EDA].table
    drawing = part_bars(table)
    assert "sequential, 1 worker: reading 0.5, augmentation 3" in drawing.text
    assert drawing.draw is not None
    figure = Figure(figsize=drawing.size)
    drawing.draw(figure)
    axes, shares = figure.axes
    assert axes.dataLim.x1 == 3.5
    first = drawing.data[0]
    assert (first["configuration"], first["augmentation_s"]) == ("sequential, 1 worker", 3.0)
    assert sorted(text.get_text() for text in shares.texts) == ["14", "14", "86", "86"]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "sequential, 1 worker",
        "dask, 2 workers",
    ]
    assert part_bars(compare([replace(rows[0], reading_s=None, augmentation_s=None)]).by_stage[
        Stage.EDA].table).draw is None  # fmt: skip


def test_array_operations_have_a_panel_for_each_operation_and_input() -> None:
    rows = [
        replace(array_run(operation, engine, 1, 2.0), array_input=name)
        for operation in ("histogram", "mean-std")
        for engine in ("numpy", "opencv")
        for name in ("disk", "memory")
    ]
    rows = [replace(row, configuration=f"{row.run_id}-{row.array_input}") for row in rows]
    curves = by_workers(compare(rows).by_stage[Stage.ARRAY].table, "time_s")
    assert len(curves) == 8
    assert {curve.panel for curve in curves} == {
        "histogram, disk", "histogram, memory", "mean-std, disk", "mean-std, memory",
    }  # fmt: skip
