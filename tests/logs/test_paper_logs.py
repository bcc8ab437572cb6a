"""The logs behind the reproduced study's table."""

import csv
from pathlib import Path

import pytest

from tests.logs.maker import PATTERN
from weather_hpc.logs import find_logs, read_logs
from weather_hpc.runs.row import Reading


@pytest.fixture
def paper(shared_images: Path) -> Path:
    return shared_images.parent / "paper"


@pytest.fixture
def readings(paper: Path) -> dict[str, Reading]:
    files = find_logs([paper], PATTERN)
    return {reading.row.run_id: reading for reading in read_logs(files, PATTERN)}


def test_totals_are_those_of_the_table(paper: Path, readings: dict[str, Reading]) -> None:
    with (paper / "ddp_rtx3070.csv").open() as file:
        table = {f"ddp_{r['gpus']}gpu_bs{r['batch_size']}": r for r in csv.DictReader(file)}
    assert len(readings) == 8
    cut = []
    for name, reading in readings.items():
        row, printed = reading.row, int(table[name]["time_s"])
        assert (row.workers, row.batch_size_per_device) == (
            int(table[name]["gpus"]), int(table[name]["batch_size"]),
        )  # fmt: skip
        assert row.table == "training"
        assert row.time_s is not None
        if round(row.time_s) != printed:
            cut.append(name)
            assert int(row.time_s) == printed
    # the study rounded six totals and cut off the decimals of two
    assert cut == ["ddp_2gpu_bs256", "ddp_2gpu_bs64"]


def test_what_the_logs_say_apart_from_their_totals(readings: dict[str, Reading]) -> None:
    row = readings["ddp_2gpu_bs128"].row
    assert row.time_s == 63.36701250076294
    assert (row.strategy, row.device, row.world_size_actual) == ("ddp", "cuda", 2)
    assert (row.batch_size_global, row.epochs_done, row.epochs) == (256, 20, None)
    assert row.train_loss == pytest.approx((1.395 + 1.383) / 2)
    assert row.train_accuracy == pytest.approx(0.575)
    assert row.images_per_s is None
    assert readings["ddp_1gpu_bs32"].row.images == 6862


def test_every_cut_head_is_reported_and_nothing_else(readings: dict[str, Reading]) -> None:
    found = {
        name: [f.message for f in reading.findings if f.code != "batch_semantics"]
        for name, reading in readings.items()
    }
    assert found.pop("ddp_1gpu_bs32") == []
    # 97.1 s less its nine epochs of 4.1 s
    assert found["ddp_2gpu_bs32"].pop() == (
        "the total 97.1255 s leaves 5.46 s for each of the 11 epochs cut off; "
        "the others took 4.07 s"
    )
    assert all(
        len(messages) == 1 and "head is cut off" in messages[0] for messages in found.values()
    )
    assert "epochs 0-8 missing" in found["ddp_1gpu_bs128"][0]
    assert "rank 0 begins at epoch 12" in found["ddp_2gpu_bs256"][0]


def test_no_two_have_the_same_content(readings: dict[str, Reading]) -> None:
    assert len({reading.content for reading in readings.values()}) == 8
