"""The first screen: cards, the map of strategies, and the plot of the best speedups."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, packing, paper_ddp, scaled, training, usl_time
from weather_hpc.analysis.advice import advice_table
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.law_table import laws_table
from weather_hpc.analysis.steps import comparisons_table
from weather_hpc.report.cell_colours import cell_colour, contrast, text_colour
from weather_hpc.report.collected import Collected
from weather_hpc.report.colours import INK
from weather_hpc.report.drawing import render
from weather_hpc.report.first_screen import first_screen
from weather_hpc.report.map_layout import layout_of
from weather_hpc.report.section import FirstScreen
from weather_hpc.runs.row import Row

SUPERLATIVES = re.compile(r"fastest|cheapest|best", re.IGNORECASE)


def screen(rows: list[Row]) -> FirstScreen:
    comparison = compare(rows)
    tables = [advice_table(comparison), laws_table(comparison), comparisons_table(comparison)]
    return first_screen(Collected(comparison, [], tables))


def labels(found: FirstScreen) -> list[str]:
    return [card.label for card in found.cards]


def with_values(rows: list[Row], **values: Any) -> list[Row]:
    return [replace(row, **values) for row in rows]


def test_the_cards_of_a_training_study() -> None:
    rows = with_values(
        scaled(usl_time(0.05, 0.05), [1, 2, 4, 8], 6, 0.01), test_images=400, node_hours=0.5
    )
    rows = [replace(row, test_accuracy=0.5 if row.workers == 1 else 0.49) for row in rows]
    time, value, stop, accuracy = screen(rows).cards
    assert time.label == "Fastest"
    assert "4 ranks" in time.detail
    assert "times as fast as ddp on cuda, 1 rank, batch 32 (" in time.detail
    assert time.interval.startswith("95 % interval ")
    # all cost the same
    assert value.label == "Among the cheapest"
    assert (stop.label, stop.value) == ("Scaling stops at", "4 GPUs")
    assert re.search(r"efficiency \d+ % \(.*; 8 take 1\.\d\d times as long", stop.detail)
    assert accuracy.label == "Accuracy, no loss shown"
    assert "best: 0.500 with ddp on cuda, 1 rank, batch 32, not distinguishable" in accuracy.detail


def test_a_loss_of_accuracy_that_is_shown_is_called_one() -> None:
    rows = ddp(1, [10.0] * 4, test_accuracy=0.8, test_images=1000)
    rows += ddp(2, [6.0, 6.1, 6.2, 6.1], test_accuracy=0.6, test_images=1000)
    assert "Accuracy lost" in labels(screen(rows))


def test_without_repeats_nothing_is_called_tested() -> None:
    found = screen(paper_ddp())
    assert labels(found)[0] == "Fastest, not tested"
    assert found.cards[2].interval == "too few repeats to test it"
    assert [card.value for card in found.cards if card.label == "Cost"] == ["not measured"]


def test_a_red_verdict_and_ties_have_no_superlative() -> None:
    ranks = ddp(1, [10.0, 11.0, 12.0, 11.0]) + ddp(2, [10.0, 10.9, 12.0, 11.0])
    assert labels(screen(ranks))[0] == "Among the fastest"
    wrong = [replace(row, audit_errors="nan_loss") for row in ddp(4, [3.0] * 4)]
    found = screen(ranks + wrong)
    said = [found.verdict.text if found.verdict else "", *labels(found), *found.sentences]
    assert found.verdict is not None
    assert found.verdict.trust == "red"
    assert not [text for text in said if SUPERLATIVES.search(text)]
    strategies, _ = found.plots
    assert strategies.draw is not None
    assert "fastest" not in render("map", strategies.draw, strategies.size).svg


def test_preprocessing_alone_is_the_subject() -> None:
    rows = packing("sequential", 1, [8.0] * 4, store_checksum="a")
    rows += packing("dask", 2, [4.0, 4.1, 4.2, 4.1], store_checksum="a")
    found = screen(rows)
    assert (found.cards[3].label, found.cards[3].value) == ("Same result", "yes")
    strategies, speedup = found.plots
    assert "dask, 2 workers: 4.10 1.95×" in strategies.text
    assert speedup.text.startswith("Speedup by workers. dask")


def test_failures_alone_have_no_cards() -> None:
    rows = [replace(row, table=None, status="failed", time_s=None) for row in ddp(1, [1.0, 1.0])]
    found = screen(rows)
    assert (found.cards, found.plots) == ((), ())
    assert found.sentences == ["No run was measured."]


def test_plots_show_law_knee_and_where_more_is_slower() -> None:
    rows = scaled(usl_time(0.05, 0.05), [1, 2, 4, 8], 6, 0.01)
    _, speedup = screen(rows).plots
    assert speedup.draw is not None
    svg = render("speedup", speedup.draw, speedup.size).svg
    for text in ("ideal", "USL fit", "bootstrap interval", "stops: 4 GPUs", "more is slower"):
        assert text in svg


@pytest.mark.parametrize("speedup", [0.05, 0.4, 0.8, 0.97, 1.0, 1.3, 2.0, 5.0, 30.0, None])
def test_text_on_cells_can_be_read(speedup: float | None) -> None:
    fill = cell_colour(speedup, [0.05, 1.0, 30.0])
    assert contrast(text_colour(fill), fill) >= 4.5
    # the page replaces its ink by a colour that is light on a dark page
    assert INK not in (fill, text_colour(fill))


@pytest.mark.parametrize(("blocks", "rows"), [([2], 1), ([1, 8, 8, 8], 6), ([10] * 6, 8)])
def test_blocks_fit_and_do_not_overlap(blocks: list[int], rows: int) -> None:
    width, height = 6.4, 4.1
    found = layout_of(blocks, ["model on cuda"] * len(blocks), ["512"] * rows, (width, height))
    boxes = [
        (x, y, x + columns * found.width, y + rows * found.height)
        for (x, y), columns in zip(found.places, blocks, strict=True)
    ]
    assert min(found.width, found.height) > 0.05
    for left, top, right, bottom in boxes:
        assert 0 < left < right <= width
        assert 0 < top < bottom <= height
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert (
                one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            )


def test_the_map_shows_each_strategy_and_what_did_not_fit() -> None:
    rows = [
        row
        for strategy in ("ddp", "dp")
        for batch in range(1, 10)
        for row in training(strategy, 2, [5.0], batch_size_per_device=batch)
    ]
    strategies, _ = screen(rows).plots
    assert strategies.left_out == 2
    assert strategies.draw is not None
    svg = render("map", strategies.draw, strategies.size).svg
    assert "ddp on cuda" in svg
    assert "dp on cuda" in svg
