"""Logs of Keras 1 to 3, as its fit() and evaluate() print them."""

from pathlib import Path

import pytest

from tests.logs.maker import read_lines, read_text

ONE = "ddp_1gpu_bs64.log"
BAR = "[==============================]"
LONG = "━" * 20


def _values(epoch: int) -> dict[str, str]:
    return {
        "e": str(epoch),
        "loss": f"{1.1 - epoch / 10:.4f}",
        "acc": f"{0.5 + epoch / 10:.4f}",
        "vl": f"{1.2 - epoch / 10:.4f}",
        "va": f"{0.45 + epoch / 10:.4f}",
    }


def _epochs(*lines: str, end: tuple[str, ...] = ()) -> list[str]:
    """``lines`` of epochs 1 to 3, and ``end``: the loss falls to 0.8, validation ends at 0.75."""
    return [*(line.format(**_values(epoch)) for epoch in (1, 2, 3) for line in lines), *end]


LOGS = {
    "keras-1": _epochs("Epoch {e}/3",
                       "45s - loss: {loss} - acc: {acc} - val_loss: {vl} - val_acc: {va}"),
    "keras-2.0-verbose-2": [
        "Train on 60000 samples, validate on 10000 samples",
        *_epochs("Epoch {e}/3",
                 " - 45s - loss: {loss} - acc: {acc} - val_loss: {vl} - val_acc: {va}"),
    ],
    "keras-2.2-verbose-1": [
        "Train on 60000 samples, validate on 10000 samples",
        *_epochs("Epoch {e}/3",
                 "  128/60000 [..............................] - ETA: 1:02 - loss: 2.3 - acc: 0.1\r"
                 f"60000/60000 {BAR} - 45s 750us/step - loss: {{loss}} - acc: {{acc}} "
                 "- val_loss: {vl} - val_acc: {va}"),
        "10000/10000 [==============================] - 1s 79us/step",
        "Test loss: 0.9", "Test accuracy: 0.75",
    ],
    "tf-2.0-unknown-size": _epochs(
        "Epoch {e}/3",
        "      1/Unknown - 5s 5s/step - loss: 2.3 - accuracy: 0.1",
        "    938/Unknown - 44s 33ms/step - loss: {loss} - accuracy: {acc}",
        "    938/Unknown - 45s 33ms/step - loss: {loss} - accuracy: {acc} - val_loss: {vl} "
        "- val_accuracy: {va}",
        end=("     79/Unknown - 1s 12ms/step - loss: 0.95 - accuracy: 0.71",),
    ),
    "tf-2.9-verbose-2": _epochs(
        "Epoch {e}/3",
        "Epoch {e}: val_loss improved from 9.0 to {vl}, saving model to best.h5",
        "782/782 - 45s - loss: {loss} - sparse_categorical_accuracy: {acc} - val_loss: {vl} "
        "- val_sparse_categorical_accuracy: {va} - lr: 1.0000e-03 - 45s/epoch - 57ms/step",
        "79/79 - 1s - loss: 0.95 - sparse_categorical_accuracy: 0.71 - 1s/epoch - 12ms/step",
        end=("Epoch 3: early stopping",),
    ),
    "tf-2.9-verbose-1": _epochs(
        "Epoch {e}/3",
        "782/782 [==============================] - ETA: 0s - loss: 2.0 - accuracy: 0.2",
        "Epoch {e}: ReduceLROnPlateau reducing learning rate to 0.0002.",
        f"782/782 {BAR} - 45s 57ms/step - loss: {{loss}} - accuracy: {{acc}} "
        "- top_k_categorical_accuracy: 0.99 - val_loss: {vl} - val_accuracy: {va} "
        "- val_top_k_categorical_accuracy: 0.98",
        "79/79 [==============================] - 1s 12ms/step",
        end=(f"782/782 {BAR} - 20s 25ms/step - loss: 0.95 - accuracy: 0.71",),
    ),
    "keras-3-verbose-1": _epochs(
        "Epoch {e}/3",
        f"\x1b[1m  1/782\x1b[0m \x1b[37m{LONG}\x1b[0m \x1b[1m1:02:05\x1b[0m 5s/step "
        "- accuracy: 0.1 - loss: 2.3" + "\b" * 90 + "\r"
        "\x1b[1m300/782\x1b[0m \x1b[32m━━━\x1b[0m\x1b[37m━━\x1b[0m \x1b[1m1:02\x1b[0m 290ms/step "
        "- accuracy: 0.1 - loss: 2.3" + "\b" * 90 + "\r"
        f"\x1b[1m782/782\x1b[0m \x1b[32m{LONG}\x1b[0m\x1b[37m\x1b[0m \x1b[1m0s\x1b[0m 57ms/step "
        "- accuracy: 0.2 - loss: 2.0" + "\b" * 90 + "\r"
        f"\x1b[1m782/782\x1b[0m \x1b[32m{LONG}\x1b[0m\x1b[37m\x1b[0m \x1b[1m45s\x1b[0m 57ms/step "
        "- accuracy: {acc} - loss: {loss} - val_accuracy: {va} - val_loss: {vl} "
        "- learning_rate: 0.0010",
        end=(f"79/79 {LONG} 1s 12ms/step - accuracy: 0.71 - loss: 0.95",
             f"79/79 {LONG} 1s 9ms/step",),
    ),
    "keras-3-verbose-2": _epochs(
        "Epoch {e}/3",
        "782/782 - 45s - 57ms/step - accuracy: {acc} - loss: {loss} - val_accuracy: {va} "
        "- val_loss: {vl}",
        end=("79/79 - 1s - 12ms/step - accuracy: 0.71 - loss: 0.95",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "0: ", "[1,0]<stdout>:", "[default0]:"])
@pytest.mark.parametrize("kind", LOGS)
def test_a_version_is_read_whole(tmp_path: Path, kind: str, prefix: str) -> None:
    lines = [prefix + line for part in LOGS[kind] for line in part.split("\n")]
    if prefix == "[default0]:":  # torchrun labels what follows a carriage return too
        lines = [line.replace("\r", f"\r{prefix}") for line in lines]
    reading = read_lines(tmp_path, [*lines, f"{prefix}Total training time: 141.2 s"], ONE)
    row = reading.row
    assert (row.table, row.reason, row.time_s) == ("training", None, 141.2)
    assert (row.epochs, row.epochs_done) == (3, 3)
    assert (row.train_loss, row.train_accuracy, row.test_accuracy) == (0.8, 0.8, 0.75)
    assert not [finding for finding in reading.findings if finding.severity == "error"]


def test_a_terminals_output_is_rewritten_by_backspaces(tmp_path: Path) -> None:
    lines = [line.replace("\r", "") for line in LOGS["keras-3-verbose-1"]]
    labelled = [f"0: {line}" for part in lines for line in part.split("\n")]
    row = read_lines(tmp_path, labelled, ONE).row
    assert (row.time_s, row.train_loss, row.test_accuracy) == (135, 0.8, 0.75)


def test_the_sum_of_the_epochs_where_no_total_is_printed(tmp_path: Path) -> None:
    row = read_lines(tmp_path, LOGS["keras-3-verbose-2"], ONE).row
    assert (row.table, row.time_s) == ("training", 135)


@pytest.mark.parametrize("kind", ["keras-2.0-verbose-2", "tf-2.9-verbose-1", "keras-3-verbose-1"])
def test_one_that_was_cut_off(tmp_path: Path, kind: str) -> None:
    text = "\n".join(LOGS[kind])
    row = read_text(tmp_path, text[: text.index("Epoch 3/3") + 20], ONE).row
    assert (row.table, row.epochs_done, row.train_loss) == (None, 2, 0.9)
    assert "no total in the log, 2 of 3 epochs; its last values: '" in (row.reason or "")
    assert "Keras prints no total" in (row.reason or "")


def test_ranks_of_horovod(tmp_path: Path) -> None:
    lines = [
        f"[1,{rank}]<stdout>:{line}"
        for epoch in (1, 2)
        for rank in (0, 1)
        for line in (
            f"Epoch {epoch}/2",
            f"  1/468 [..............................] - ETA: 1:20 - loss: 2.{rank}",
            f"468/468 {BAR} - 4s 9ms/step - loss: 0.{epoch}{rank} - accuracy: 0.5",
        )
    ]
    row = read_lines(tmp_path, [*lines, "Training took 9.5 s"], "keras.log").row
    assert (row.world_size_actual, row.epochs_done, row.time_s) == (2, 2, 9.5)
    assert row.train_loss == pytest.approx(0.205)


def test_nothing_was_printed(tmp_path: Path) -> None:
    row = read_lines(tmp_path, ["Total training time: 91.2 s"], ONE).row
    assert row.table is None
    assert "a total but no epoch" in (row.reason or "")


def test_ranks_without_labels(tmp_path: Path) -> None:
    lines = [
        line
        for epoch in (1, 2, 3)
        for line in (
            f"Epoch {epoch}/3", f"Epoch {epoch}/3",
            "  1/468 [..............................] - ETA: 1:20 - loss: 2.3",
            f"468/468 {BAR} - 4s 9ms/step - loss: 0.{epoch}2 - accuracy: 0.51",
            f"468/468 {BAR} - 5s 9ms/step - loss: 0.{epoch}6 - accuracy: 0.53",
        )
    ]  # fmt: skip
    reading = read_lines(tmp_path, [*lines, "Total training time: 15.2 s"], "ddp_2gpu_bs64.log")
    row = reading.row
    assert (row.table, row.time_s, row.epochs_done) == ("training", 15.2, 3)
    assert row.train_loss == pytest.approx(0.34)
    assert row.train_accuracy == pytest.approx(0.52)
    assert not [finding for finding in reading.findings if finding.severity == "error"]


def test_csv(tmp_path: Path) -> None:
    lines = ["epoch,accuracy,loss,val_accuracy,val_loss"]
    lines += [f"{e},0.5{e},1.{9 - e},0.4{e},1.95" for e in range(3)]
    row = read_lines(tmp_path, lines, ONE).row
    assert (row.epochs_done, row.train_loss, row.train_accuracy) == (3, 1.7, 0.52)
    assert (row.test_accuracy, row.table) == (0.42, None)
    assert "no total in the log; its last values: '2,0.52" in (row.reason or "")


def test_one_that_was_cut_off_in_its_first_epoch(tmp_path: Path) -> None:
    bar = "[==>...........................] - ETA: 1:02 - loss: 2.3 - accuracy: 0.1"
    row = read_lines(tmp_path, ["Epoch 1/3", *(f"{i:3}/782 {bar}" for i in range(1, 79))], ONE).row
    assert (row.table, row.train_loss, row.epochs_done) == (None, None, None)
    assert "no total in the log, 0 of 3 epochs; its last values: '78/782 [" in (row.reason or "")
