"""The sections on learning and on the images, of made-up runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc.analysis.comparison import compare
from weather_hpc.report.collected import Collected
from weather_hpc.report.confusion import MOST_CLASSES, class_table, confusion_plot
from weather_hpc.report.data_section import data_section
from weather_hpc.report.drawing import render
from weather_hpc.report.learning import learning_section
from weather_hpc.runs.evaluation import Evaluation
from weather_hpc.runs.images_summary import ClassCount, ImagesSummary, Reason
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import earlier_runs

NAMES = ["dew", "rain", "snow"]


def evaluation(confusion: Sequence[Sequence[int]], confidence: float = 0.9) -> dict[str, Any]:
    images = sum(map(sum, confusion))
    right = sum(row[place] for place, row in enumerate(confusion))
    return {
        "images": images,
        "classes": NAMES if len(confusion) == 3 else [f"c{n:02}" for n in range(len(confusion))],
        "confusion": confusion,
        "expected_calibration_error": abs(confidence - right / images),
        "calibration": [
            {"from": 0.8, "to": 1.0, "images": images, "confidence": confidence,
             "accuracy": right / images}
        ],
    }  # fmt: skip


def trained(
    root: Path, strategy: str, ranks: int, accuracies: Sequence[float], repeat: int, **task: Any
) -> None:
    """A run with an epoch of 10 s / ranks for each of ``accuracies`` on the held-out images."""
    spec = train_spec(strategy, ranks, repeat, task={"epochs": len(accuracies), **task})
    quality = {"test_accuracy": accuracies[-1]}
    counts = {"test_images": 300}
    time_s = 10 * len(accuracies) / ranks
    run = leave(root, measured(spec, time_s, quality=quality, counts=counts))
    events: list[dict[str, Any]] = [{"event": "start", "at": 0.0}]
    for number, accuracy in enumerate(accuracies, start=1):
        at, seconds = 12.0 * number, 10 / ranks + 0.1 * repeat
        events.append(
            {"event": "epoch", "at": at, "epoch": number, "loss": 2.0 / number, "accuracy": 0.9,
             "test_loss": 3.0 / number, "test_accuracy": accuracy, "time_s": seconds}
        )  # fmt: skip
    run.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    right = round(100 * accuracies[-1])
    wrong = [100 - right, 0]
    confusion = [[right, *wrong], [0, right, wrong[0]], [100 - right, 0, right]]
    run.evaluation.write_text(json.dumps(evaluation(confusion)))


def collected(root: Path) -> Collected:
    return Collected(compare(run.row for run in earlier_runs(StudyPaths(root))))


def test_what_was_learned_is_said_largest_effect_first(tmp_path: Path) -> None:
    for repeat in range(3):
        trained(tmp_path, "single", 1, [0.5, 0.7, 0.8], repeat)
        trained(tmp_path, "ddp", 2, [0.3, 0.4, 0.5], repeat)
    section = learning_section(collected(tmp_path))
    chance, gap, difference, falling, *times = section.sentences
    assert "one answer for all of them would be for 0.333" in chance
    assert "a gap of 0.400, the largest" in gap
    assert "is 0.300 below that of single on cpu" in difference
    assert "95 % interval 0.228 to 0.372 for 300 test images" in difference
    assert "of 2 of 2 configurations" in falling
    # 0.9 of 0.8 by the third epoch, 0.8 too
    assert [text.split(" is ")[0] for text in times] == ["Test accuracy 0.72", "Test accuracy 0.8"]
    assert all("not reached by ddp on cpu, 2 ranks, batch 32." in text for text in times)
    (table,) = section.tables
    single, ddp = (row for row in table.rows if row["target_test_accuracy"] == 0.72)
    assert (single["reached"], single["epoch"], single["time_s"]) == (3, 3, pytest.approx(30.3))
    assert (single["time_s_low"], single["wall_s"]) == (pytest.approx(30.0), 36.0)
    assert (ddp["reached"], ddp["time_s"], ddp["epoch"]) == (0, None, None)
    (mistakes,) = section.parts
    assert "dew for rain (20 of 100)" in mistakes.sentences[0]
    assert "so it is too sure" in mistakes.sentences[1]
    assert [plot.name for plot in mistakes.plots if plot.draw] == ["confusion", "calibration"]
    for plot in (*section.plots, *mistakes.plots):
        if plot.draw is not None:
            assert plot.data
            svg = render(plot.name, plot.draw, plot.size).svg
            assert ("single on cpu" in svg) == (plot in section.plots)


def test_runs_of_one_epoch_have_no_curve_and_no_time_to_an_accuracy(tmp_path: Path) -> None:
    trained(tmp_path, "single", 1, [0.34], 0)
    section = learning_section(collected(tmp_path))
    assert not section.tables
    assert all(plot.draw is None for plot in section.plots)
    assert section.sentences[0].startswith("No network is shown to have learned anything")


def test_of_many_configurations_those_that_matter_are_drawn(tmp_path: Path) -> None:
    for batch in (8, 16, 32, 64):
        for strategy, ranks in (("single", 1), ("ddp", 2)):
            accuracy = 0.9 if batch == 64 and strategy == "ddp" else 0.4
            trained(tmp_path, strategy, ranks, [0.3, accuracy], 0, batch_size=batch)
    section = learning_section(collected(tmp_path))
    drawn = {row["configuration"] for row in section.plots[0].data}
    assert len(drawn) == 6
    assert "ddp on cpu, 2 ranks, batch 64" in drawn
    assert "of 6 of 8 configurations" in section.text


def test_a_damaged_evaluation_is_said(tmp_path: Path) -> None:
    trained(tmp_path, "single", 1, [0.4, 0.5], 0)
    (run,) = (tmp_path / "runs").iterdir()
    (run / "evaluation.json").write_text("{")
    (mistakes,) = learning_section(collected(tmp_path)).parts
    assert "evaluation.json: not JSON" in mistakes.sentences[0]


def test_of_many_classes_the_worst_are_in_the_matrix() -> None:
    count = MOST_CLASSES + 5
    confusion = [[0] * count for _ in range(count)]
    for place, row in enumerate(confusion):
        row[place], row[(place + 1) % count] = place, count - place
    found = Evaluation.model_validate(evaluation(confusion))
    plot = confusion_plot(found)
    assert plot.left_out == 5
    assert "c00:" in plot.text
    assert f"c{count - 1}:" not in plot.text
    first = class_table(found).rows[0]
    assert (first["class"], first["recall"], first["precision"]) == ("c00", 0.0, 0.0)
    assert first["most_often_taken_for"] == f"c01 ({count})"


SUMMARY = ImagesSummary(
    checksum="ab" * 32,
    image_size_px=64,
    decoder="fast",
    classes={"dew": ClassCount(train=8, test=2), "rain": ClassCount(train=24, test=6)},
    quarantined=[Reason(reason="not an image", files=3, example="dew/x.txt")],
    damaged=[],
    duplicates=0,
)


def packed(root: Path, checksums: Sequence[str], summary: bool = True) -> None:
    for number, checksum in enumerate(checksums):
        spec = preprocess_spec("multiprocessing", 1 + number)
        run = leave(root, measured(spec, 5.0, quality={"store_checksum": checksum}))
        if summary:
            SUMMARY.write(run.images)


def test_images_are_counted_and_all_runs_packed_the_same(tmp_path: Path) -> None:
    packed(tmp_path, ["ab" * 32] * 2)
    section = data_section(collected(tmp_path))
    same, balance, left_out = section.sentences
    assert same == "All 2 preprocessing runs packed the same pixels, to the bit."
    assert balance == (
        "The largest class, rain, has 30 images, 3.0 times as many as the smallest, dew (10)."
    )
    assert "3 files of 43 (7.0 %) were left out, all for one reason (3: not an image)." in left_out
    assert dict(section.facts)["Images"] == "40 in 2 classes: 32 to train with, 8 held out"
    (bars,) = section.plots
    assert bars.draw is not None
    assert render(bars.name, bars.draw, bars.size).png


def test_different_pixels_of_the_same_images_are_said(tmp_path: Path) -> None:
    packed(tmp_path, ["ab" * 32, "cd" * 32])
    section = data_section(collected(tmp_path))
    assert "packed different pixels: abababababab by 1 run" in section.sentences[0]
    assert len(section.parts) == 2


def test_no_images_no_section(tmp_path: Path) -> None:
    packed(tmp_path, ["ab" * 32], summary=False)
    assert data_section(collected(tmp_path)).is_empty
    assert data_section(Collected(compare([]))).is_empty
    assert learning_section(Collected(compare([]))).is_empty
