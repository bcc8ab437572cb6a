"""How other people's programs print a run: read whole, or refused with what was found."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.logs.maker import finding_codes, read_lines, read_text
from weather_hpc.logs import parse_pattern, read_logs

EPOCHS = range(1, 5)


def each_epoch(*lines: str) -> list[str]:
    """``lines`` of epochs 1 to 4; the loss falls to 0.6, the accuracy rises to 54 %."""
    return [
        line.format(e=e, loss=f"{1 - e / 10:.1f}", acc=f"0.{50 + e}", percent=f"{50 + e}.0")
        for e in EPOCHS
        for line in lines
    ]


LOGGER = "[rank0]: 2024-01-01 10:00:00,123 INFO "
STYLES: dict[str, list[str]] = {
    "key-value": [
        *each_epoch(LOGGER + "epoch={e} rank=0 loss={loss} acc={acc} time=22.5s"),
        LOGGER + "total_time=91.2s",
    ],
    "of-epochs": [
        *each_epoch("Epoch [{e}/4], Loss: {loss}, Accuracy: {percent}%"),
        "Training time: 91.2 seconds",
    ],
    "keras": [
        *each_epoch("Epoch {e}/4 - loss: {loss} - accuracy: {acc} - 22s"),
        "Total training time: 0:01:31.2",
    ],
    "keras-2": [
        *each_epoch("Epoch {e}/4 - 22s - loss: {loss} - accuracy: {acc} - val_loss: 0.7 "
                    "- val_accuracy: 0.49 - 22s/epoch - 20ms/step"),
        "Elapsed: 91.2",
    ],
    "keras-bar": [
        *each_epoch(
            "Epoch {e}/4",
            "  1/215 [..............................] - ETA: 12s - loss: 2.3 - accuracy: 0.1\r"
            "215/215 [==============================] - ETA: 0s - loss: 2.0 - accuracy: 0.2\r"
            "215/215 [==============================] - 22s 102ms/step - loss: {loss} "
            "- accuracy: {acc} - val_loss: 0.7 - val_accuracy: 0.49",
        ),
        "Training took 0:01:31.2",
    ],
    "keras-3": [
        *each_epoch(
            "Epoch {e}/4",
            "\x1b[1m107/215\x1b[0m \x1b[32m━━━\x1b[0m\x1b[37m━━━\x1b[0m \x1b[1m11s\x1b[0m "
            "102ms/step - accuracy: 0.1 - loss: 2.3\r"
            "\x1b[1m215/215\x1b[0m \x1b[32m━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m22s\x1b[0m "
            "102ms/step - accuracy: {acc} - loss: {loss}",
        ),
        "Total time: 91.2 s",
    ],
    "train-and-val": [
        *each_epoch("Epoch {e}/4", "----------", "train Loss: {loss} Acc: {acc}",
                    "val Loss: 0.7 Acc: 0.49", ""),
        "Training complete in 1m 31.2s",
    ],
    "tqdm": [
        *each_epoch(
            "  0%|          | 0/215 [00:00<?, ?it/s]\r 50%|#####     | 107/215 [00:02<00:02, "
            "48.9it/s]\r100%|##########| 215/215 [00:04<00:00, 48.9it/s]",
            "Epoch {e}: train loss {loss}, train acc {percent}%, time 22.50s",
        ),
        "Training finished in 91.2 s",
    ],
    "tqdm-described": [
        *each_epoch(
            "Epoch {e}/4:  50%|#####     | 107/215 [00:02<00:02, 48.9it/s, loss=1.9]\r"
            "Epoch {e}/4: 100%|##########| 215/215 [00:04<00:00, 48.9it/s, loss=1.8]",
            "Epoch {e}/4 | Loss: {loss} | Acc: {acc} | LR: 1e-3",
        ),
        "Training completed in 1m 31.2s",
    ],
    "json": [
        *each_epoch('{{"time_stamp": "10:00", "rank": 0, "epoch": {e}, "loss": {loss}, '
                    '"accuracy": {acc}, "time": 22.5}}'),
        '{"total_time": 91.2}',
    ],
    "python-dict": [
        *each_epoch("{{'epoch': {e}, 'train_loss': {loss}, 'train_acc': {acc}}}"),
        "--- 91.2 seconds ---",
    ],
    "gpu-first": [
        *each_epoch("GPU 0: epoch {e}, loss={loss}, acc={acc}"),
        "GPU 0: total time 91.2 s",
    ],
    "tutorial": [
        *each_epoch("[GPU0] Epoch {e} | Batchsize: 32 | Steps: 215 | Loss: {loss} "
                    "| Accuracy: {acc}"),
        "Elapsed time: 91.2 seconds",
    ],
    "bash-time": [
        *each_epoch("Epoch: {e}, train_loss: {loss}, train_accuracy: {acc}"),
        "", "real\t1m31.200s", "user\t3m1.112s", "sys\t0m9.009s",
    ],
    "gnu-time": [
        *each_epoch("epoch {e}: loss {loss} accuracy {acc}"),
        "\tElapsed (wall clock) time (h:mm:ss or m:ss): 1:31.20",
    ],
    "torchrun": [
        *each_epoch("[default0]:Epoch {e} of 4: loss = {loss}, accuracy = {acc}"),
        "[default0]:Training took 91.2 sec",
    ],
    "srun": [
        *each_epoch("0: Epoch: {e} Loss: {loss} Acc: {percent} % Time: 0:22.5"),
        "0: Total time: 91200 ms",
    ],
    "glog": [
        *each_epoch("I0101 10:00:00.123456 4711 train.py:55] epoch {e}, loss {loss}, acc {acc}"),
        "I0101 10:00:00.123456 4711 train.py:60] total runtime: 1.52 min",
    ],
    "colours": [
        *each_epoch("\x1b[1;32mEpoch {e}\x1b[0m | \x1b[33mloss: {loss}\x1b[0m | acc: {acc}"),
        "\x1b[1mTotal elapsed time: 1 min 31.2 s\x1b[0m",
    ],
    "two-lines": [
        *each_epoch("Epoch {e}: loss: {loss}, acc: {acc}",
                    "Epoch {e}: val loss: 0.7, val acc: 0.49"),
        "Training done in 91.2s",
    ],
    "student": [
        *each_epoch("epoch:{e}\tloss:{loss}\ttrain_acc:{percent}%\tlr:0.01\tmem: 3.2 GB"),
        "Time taken for training: 91.2 seconds.",
    ],
}  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_read_whole(tmp_path: Path, style: str, end: str) -> None:
    reading = read_text(tmp_path, end.join([*STYLES[style], ""]), "ddp_1gpu_bs32.log")
    row = reading.row
    assert row.reason is None
    assert row.time_s == pytest.approx(91.2)
    assert (row.table, row.workers) == ("training", 1)
    assert (row.train_loss, row.train_accuracy) == (0.6, 0.54)
    # of epochs 1 to 4 alone nobody knows whether there was an epoch 0
    text = " ".join(STYLES[style])
    assert row.epochs_done == (4 if "/4" in text or "of 4" in text or "22.5" in text else None)
    assert row.test_accuracy in (None, 0.49)
    errors = [finding for finding in reading.findings if finding.severity == "error"]
    assert errors == []


def test_an_epoch_under_a_heading_that_was_not_ended_is_none(tmp_path: Path) -> None:
    lines = STYLES["keras-bar"][:-2]
    reading = read_lines(tmp_path, [*lines, "100/215 [=>..] - ETA: 9s - loss: 0.5 - accuracy: 0.8"])
    assert (reading.row.epochs_done, reading.row.train_loss) == (3, 0.7)  # Keras counts from 1
    assert {"missing_total", "incomplete_epochs"} <= finding_codes(reading)


def test_headings_of_two_runs(tmp_path: Path) -> None:
    other = [line.replace("Loss: 0.", "Loss: 1.") for line in STYLES["train-and-val"]]
    reading = read_lines(tmp_path, STYLES["train-and-val"] + other, "ddp_1gpu_bs32.log")
    assert "restarted" in finding_codes(reading)


def test_two_ranks_as_key_value_lines(tmp_path: Path) -> None:
    lines = each_epoch("epoch={e} rank=0 loss={loss}", "epoch={e} rank=1 loss=0.2")
    reading = read_lines(tmp_path, [*lines, "rank 0: total time 91.2s", "rank 1: total time 91.3s"])
    assert reading.row.train_loss == pytest.approx(0.4)
    assert (reading.row.time_s, reading.row.world_size_actual) == (91.3, 2)


def test_the_whole_process_is_the_total_only_where_there_is_no_other(tmp_path: Path) -> None:
    lines = [*STYLES["of-epochs"], "real\t1m40.0s"]
    reading = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log")
    assert reading.row.time_s == 91.2
    (alone,) = (
        finding.message
        for finding in read_lines(tmp_path, STYLES["bash-time"], "ddp_1gpu_bs32.log").findings
        if finding.code == "missing_total"
    )
    assert "the whole process, its start included" in alone


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Train Epoch: 1, 0/60000 (0%)\tLoss: 2.300000"], "Train Epoch: 1, 0/60000"),
        (["Epoch: [3][ 100/5005]\tLoss 2.3 (2.5)"], "Epoch: [3]"),
        (["215/215 [====] - 4s 20ms/step - loss: 0.5 - accuracy: 0.8"], "215/215 [====]"),
        (["Epoch 1/20", "100/215 [=>..] - 2s 20ms/step - loss: 0.5 - accuracy: 0.8"], "100/215"),
        (["train Loss: 0.5 Acc: 0.8"], "train Loss: 0.5"),
        (["Epoch 3, step 100, loss: 0.5"], "step 100"),
        (["Epoch 3 iter=100 loss=0.5"], "iter=100"),
        (["{'loss': 0.5, 'learning_rate': 5e-05, 'epoch': 0.5}"], "'epoch': 0.5"),
        (["Epoch 3 val loss: 0.6 acc: 0.7"], "Epoch 3 val loss"),
        (["Epoch 3, Time (ms): 4400, Loss (x1000): 51"], "Epoch 3, Time (ms)"),
    ],
)
def test_what_is_not_sure_is_refused_with_the_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    row = read_lines(tmp_path, [*lines, "Total time: 91.2 s"], "ddp_1gpu_bs32.log").row
    assert row.table is None
    assert row.train_loss is None
    assert message in (row.reason or "")
    assert "--format FILE" in (row.reason or "")


@pytest.mark.parametrize(
    "line",
    [
        "Total: 6862", "Total images: 6862", "Time: 91.2", "Total time: 91.2 parsecs",
        "Total time: about 91 s", "Preprocessing took 91.2 s", "Total time saved: 91.2 s",
        "Training time per epoch: 4.4 s", "Loading time: 3.2 s",
    ],
)  # fmt: skip
def test_what_is_no_total_is_not_taken_for_one(tmp_path: Path, line: str) -> None:
    lines = [*each_epoch("Epoch {e}, loss: {loss}"), line]
    reading = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log")
    assert (reading.row.time_s, reading.row.table) == (None, None)
    assert "missing_total" in finding_codes(reading)


@pytest.mark.parametrize(
    ("line", "backend", "workers", "time_s"),
    [
        ("multiprocessing, 4 workers: 12.3 s", "multiprocessing", 4, 12.3),
        ("Dask (8 processes): 0:12.5", "dask", 8, 12.5),
        ("dask with 2 workers took 12.5 seconds", "dask", 2, 12.5),
        ("Sequential: 1 worker, time 12.5s", "sequential", 1, 12.5),
    ],
)
def test_preprocessing(
    tmp_path: Path, line: str, backend: str, workers: int, time_s: float
) -> None:
    row = read_lines(tmp_path, ["loading ...", line], "preprocess.log").row
    assert row.reason is None
    assert (row.table, row.backend, row.workers, row.time_s) == (
        "preprocess", backend, workers, time_s,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Time taken with 8 processes: 3.21"], "{backend} in --pattern"),
        (["multiprocessing, 4 workers: 12.3 s", "multiprocessing, 8 workers: 7.1 s"],
         "several runs in one file"),
        (["multiprocessing, 4 workers: 12.3 s", "dask, 4 workers: 12.3 s"],
         "several runs in one file"),
    ],
)  # fmt: skip
def test_preprocessing_that_is_not_one_run(
    tmp_path: Path, lines: Iterable[str], message: str
) -> None:
    row = read_lines(tmp_path, [*lines], "preprocess.log").row
    assert row.table is None
    assert message in (row.reason or "")


def test_the_backend_by_its_name(tmp_path: Path) -> None:
    log = tmp_path / "dask_8.log"
    log.write_text("Time taken with 8 processes: 3.21\n")
    (reading,) = read_logs([log], parse_pattern("{backend}_*.log"))
    row = reading.row
    assert (row.table, row.backend, row.workers, row.time_s) == ("preprocess", "dask", 8, 3.21)
