"""Tables and results that programs write beside their console: YOLO, fastai, Hugging Face."""

import json
from pathlib import Path

import pytest

from tests.logs.maker import finding_codes, read_text
from weather_hpc.logs import parse_pattern, read_logs
from weather_hpc.runs.row import Row

DETECTION = (
    "train/box_loss,train/cls_loss,train/dfl_loss,m/P,m/R,m/50,m/95,val/a,val/b,val/c,lr/pg0"
)
CLASSIFICATION = "train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss,lr/pg0"


def read(folder: Path, text: str, pattern: str = "{gpus}gpu_{epochs}.csv") -> Row:
    """The row of a log of one device and three epochs."""
    file = folder / pattern.replace("{gpus}", "1").replace("{epochs}", "3")
    file.write_text(text)
    (reading,) = read_logs([file], parse_pattern(pattern))
    return reading.row


def yolo(columns: str, values: str, times: tuple[float, ...] = (14.5, 27.25, 40.5)) -> str:
    rows = [f"{e},{time},1.{e},{values}\n" for e, time in enumerate(times, 1)]
    return f"epoch,time,{columns}\n{''.join(rows)}"


def test_yolo_results(tmp_path: Path) -> None:
    row = read(tmp_path, yolo(CLASSIFICATION, "0.81,1,0.91,0.0006"))
    assert (row.table, row.time_s, row.epochs_done) == ("training", 40.5, 3)
    assert (row.train_loss, row.test_loss, row.test_accuracy) == (1.3, 0.91, 0.81)
    row = read(tmp_path, yolo(DETECTION, "2.2,1.3,0.4,0.3,0.2,0.1,1.4,3.1,1.6,0.0006"))
    assert (row.table, row.time_s, row.train_loss) == ("training", 40.5, None)


def test_yolo_results_that_are_no_whole_run(tmp_path: Path) -> None:
    again = read(tmp_path, yolo(CLASSIFICATION, "0.81,1,0.91,0.0006", (14.5, 27.25, 13.5)))
    assert (again.table, again.time_s) == (None, None)
    assert "from the run's start, start again" in (again.reason or "")
    unclaimed = read(tmp_path, yolo(CLASSIFICATION, "0.81,1,0.91,0.0006"), "{gpus}gpu.csv")
    assert "name {epochs} in --pattern" in (unclaimed.reason or "")


def test_results_without_times(tmp_path: Path) -> None:
    text = "   epoch,   train/box_loss,   train/obj_loss\n" + "".join(
        f"   {e},   0.04{e},   0.02,   0.01,   0.7\n" for e in range(3)
    )
    assert "has no times" in (read(tmp_path, text).reason or "")


@pytest.mark.parametrize("form", ["{} {} {} {} {}", "{},{},{},{},{}", "| {} | {} | {} | {} | {} |"])
def test_fastai(tmp_path: Path, form: str) -> None:
    rows = [form.format(e, f"0.{9 - e}", f"0.{8 - e}", f"0.7{e}", f"01:2{e}") for e in range(3)]
    head = form.format("epoch", "train_loss", "valid_loss", "accuracy", "time")
    row = read(tmp_path, "\n".join([head, *rows, ""]), "{gpus}gpu_{epochs}.log")
    assert (row.table, row.time_s, row.epochs_done) == ("training", 243.0, 3)
    assert (row.train_loss, row.test_loss, row.test_accuracy) == (0.7, 0.6, 0.72)
    errors = head.replace("accuracy", "error_rate")
    row = read(tmp_path, "\n".join([errors, *rows, ""]), "{gpus}gpu_{epochs}.log")
    assert (row.table, row.test_loss, row.test_accuracy) == ("training", 0.6, None)


END = {"train_loss": 0.443, "train_runtime": 85.4591, "train_samples_per_second": 35.1}


def test_hugging_face_json(tmp_path: Path) -> None:
    history = [
        {"epoch": 1.0, "learning_rate": 3e-5, "loss": 0.61, "step": 100},
        {"epoch": 3.0, "eval_accuracy": 0.85, "eval_loss": 0.4, "eval_runtime": 3.2, "step": 300},
    ]
    state = {"epoch": 3.0, "log_history": history, "max_steps": 300, "num_train_epochs": 3}
    whole = json.dumps(state | {"log_history": [*history, {"epoch": 3.0, **END}]}, indent=2)
    row = read(tmp_path, whole, "{gpus}gpu.json")
    assert (row.table, row.time_s, row.epochs_done) == ("training", 85.4591, 3)
    assert (row.train_loss, row.test_loss, row.test_accuracy) == (0.443, 0.4, 0.85)
    row = read(tmp_path, json.dumps(state, indent=2), "{gpus}gpu.json")
    assert "no total in the log" in (row.reason or "")
    results = json.dumps({"epoch": 3.0, **END, "train_samples": 1000}, indent=4)
    row = read(tmp_path, results, "{gpus}gpu.json")
    assert (row.table, row.time_s, row.images) == ("training", 85.4591, 1000)


def test_bars_that_name_epochs(tmp_path: Path) -> None:
    bar = "\rEpoch {e}/3:  50%|#| 1/2 [00:12<00:13, 9it/s]\rEpoch {e}/3: 100%|#| 2/2 [01:25<00:00]"
    text = "".join(bar.replace("{e}", str(e)) for e in (1, 2, 3))
    reading = read_text(tmp_path, text + "\n", "ddp_1gpu_bs32.log")
    assert (reading.row.epochs_done, reading.row.time_s) == (3, None)
    assert "not read" not in (reading.row.reason or "")
    reading = read_text(tmp_path, text + "\nTotal time: 300 s\n", "ddp_1gpu_bs32.log")
    assert (reading.row.table, reading.row.time_s) == ("training", 300.0)
    assert finding_codes(reading) == set()


@pytest.mark.parametrize("head", ["Epochs: ", "Training: "])
def test_a_bar_that_counts_epochs(tmp_path: Path, head: str) -> None:
    bars = [f"{head}{e * 50}%|#| {e}/2 [0{e}:00<00:00, 60.0s/epoch]" for e in (0, 1, 2)]
    row = read(tmp_path, "\r".join(bars) + "\n", "{gpus}gpu.log")
    assert (row.table, row.time_s, row.epochs, row.epochs_done) == ("training", 120.0, 2, 2)
    row = read(tmp_path, "\r".join(bars[:2]) + "\n", "{gpus}gpu.log")
    assert "1 of 2 epochs" in (row.reason or "")


def test_the_total_of_fastai_1(tmp_path: Path) -> None:
    rows = [f"{e}      0.9{e}    0.8{e}    0.7{e}  (01:2{e})" for e in (1, 2, 3)]
    head = ["Total time: 04:13", "epoch  train_loss  valid_loss  accuracy"]
    row = read(tmp_path, "\n".join([*head, *rows, ""]), "{gpus}gpu.log")
    assert (row.table, row.time_s, row.train_loss) == ("training", 253.0, 0.93)


def test_bars_of_training_and_validation(tmp_path: Path) -> None:
    train = "\rEpoch {e}/2 [Train]: 100%|#| 9/9 [00:12<00:00]"
    bar = train + "\rEpoch {e}/2 [Val]: 100%|#| 2/2 [00:03<00:00]"
    text = "".join(bar.replace("{e}", str(e)) for e in (1, 2))
    reading = read_text(tmp_path, text + "\nTotal time: 300 s\n", "ddp_1gpu_bs32.log")
    assert (reading.row.table, reading.row.epochs_done) == ("training", 2)


def test_a_bar_without_words_is_in_the_reason(tmp_path: Path) -> None:
    row = read_text(tmp_path, " 50%|##   | 5/10 [10:00<10:00, 120.00s/it]\n").row
    assert "not read: '50%|## | 5/10 [10:00<10:00" in (row.reason or "")
