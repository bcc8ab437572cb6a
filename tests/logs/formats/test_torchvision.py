"""Logs of torchvision's references, of DeiT's family (console and log.txt) and of Swin."""
# ruff: noqa: E501 - lines of logs

import json
from pathlib import Path

import pytest

from tests.logs.formats.maker import SRUN, TORCHRUN, check, prefixed, read


def console(epochs: int = 3, header: str = "[{e}]", *, averaged: bool = True) -> str:
    lines = [f"| distributed init (rank {r}): env://, gpu {r}" for r in (2, 0, 3, 1)]
    lines += [
        "Namespace(batch_size=64, data_path='/data', epochs=3, lr=0.0005, rank=0, world_size=4, dist_url='env://', gpu=0)"
    ]
    for e in range(epochs):
        name = "Epoch: " + header.replace("{e}", str(e))
        lines += [
            f"{name}  [{i:4d}/1251]  eta: 0:1{e}:23  lr: 0.00000{e}  loss: 6.98{i % 7}5 (6.9871)  time: 0.5513  data: 0.0004  max mem: 7019"
            for i in (0, 10, 20, 1250)
        ]  # fmt: skip
        lines += [f"{name} Total time: 0:11:3{e} (0.5531 s / it)"]
        lines += [f"Averaged stats: lr: 0.00000{e}  loss: 6.9871 (6.{8 - e}866)"] * averaged
        lines += [
            "Test:  [  0/131]  eta: 0:08:12  loss: 5.1243 (5.1243)  acc1: 3.9062 (3.9062)  acc5: 14.0625 (14.0625)  time: 3.7606  data: 3.0501  max mem: 7019"
        ]
        lines += ["Test: Total time: 0:00:24 (0.1850 s / it)"]
        lines += [
            f"* Acc@1 {e + 1}0.786 Acc@5 30.008 loss 0.8{e}0",
            f"Accuracy of the network on the 50000 test images: {e + 1}0.8%",
            f"Max accuracy: {e + 1}0.79%",
        ]
    return "\n".join(lines) + "\n"  # fmt: skip


@pytest.mark.parametrize("prefix", ["", SRUN, TORCHRUN])
def test_deit(tmp_path: Path, prefix: str) -> None:
    text = prefixed(prefix, console() + "Training time 0:36:11\n")
    check(
        read(tmp_path, text),
        table="training", world_size_actual=4, batch_size_per_device=64, epochs=3, epochs_done=3,
        time_s=2171.0, train_loss=6.6866, test_loss=0.82, test_accuracy=0.30786,
    )  # fmt: skip


def test_deit_without_a_pattern(tmp_path: Path) -> None:
    reading = read(tmp_path, console() + "Training time 1 day, 0:36:11\n", "mine.log")
    check(
        reading, "missing_total",  # a day for three epochs
        table="training", workers=4, time_s=88571.0, batch_size_global=256,
    )  # fmt: skip


def test_deit_cut_off(tmp_path: Path) -> None:
    text = console()
    in_epoch_2 = text[: text.rindex("Epoch: [2]  [  20")]
    expected: dict[str, object] = {
        "table": None,
        "epochs_done": 2,
        "train_loss": 6.7866,
        "test_accuracy": 0.20786,
    }
    check(read(tmp_path, in_epoch_2), "incomplete_epochs", "missing_total", **expected)
    in_test = text[: text.rindex("* Acc@1")]
    # of every epoch there is a time: their sum
    expected |= {"epochs_done": 3, "train_loss": 6.6866, "table": "training", "time_s": 2073.0}
    check(read(tmp_path, in_test), "missing_total", **expected)


def test_dino(tmp_path: Path) -> None:
    text = console(header="[{e}/3]") + "Training time 0:36:11\n"
    check(read(tmp_path, text), epochs_done=3, epochs=3, train_loss=6.6866, time_s=2171.0)


def test_detr_prints_means_of_its_test_too(tmp_path: Path) -> None:
    text = ""
    for e in range(2):
        text += f"Epoch: [{e}]  [   0/7330]  eta: 1:00:00  lr: 0.000100  class_error: 97.12  loss: 33.4 (35.2)  loss_ce: 1.0 (1.1)  time: 0.3  data: 0.01  max mem: 5000\n"
        text += f"Epoch: [{e}] Total time: 0:31:0{e} (0.2541 s / it)\n"
        text += f"Averaged stats: lr: 0.000100  class_error: 90.1  loss: 20.{e} (21.{e})  loss_ce: 0.9 (1.0)\n"
        text += "Test:  [   0/2500]  eta: 0:20:00  class_error: 80.0  loss: 18.0 (18.0)  time: 0.3  data: 0.01  max mem: 5000\n"
        text += "Test: Total time: 0:00:20 (0.0960 s / it)\nAveraged stats: class_error: 79.0  loss: 17.1 (17.5)  loss_ce: 0.8 (0.8)\n"
    reading = read(tmp_path, text + "Training time 1:02:43\n")
    check(reading, table="training", epochs_done=2, train_loss=21.1, time_s=3763.0)


def test_lavis(tmp_path: Path) -> None:
    text = ""
    for e in range(2):
        text += "".join(
            f"Train: data epoch: [{e}]  [{i:4d}/3000]  eta: 0:00:00  lr: 0.000022  loss: 2.7363  time: 0.3651  data: 0.0000  max mem: 24757\n"
            for i in (0, 1500, 2999)
        )  # fmt: skip
        text += f"Train: data epoch: [{e}] Total time: 0:18:1{e} (0.3647 s / it)\n"
        text += f"2025-09-21 20:57:44,461 [INFO] Averaged stats: lr: 0.0000  loss: 3.{4 - e}059  grad_norm: inf\n"
        text += f"Eval: data epoch: [{e}]  [2440/2441]  eta: 0:00:00    time: 0.2441  data: 0.0001  max mem: 26767\nEval: data epoch: [{e}] Total time: 0:10:36 (0.2606 s / it)\n"
    reading = read(tmp_path, text + "2025-09-21 21:57:44,461 [INFO] Training time 0:58:04\n")
    check(reading, "missing_total", epochs_done=2, train_loss=3.3059, time_s=3484.0)


@pytest.mark.parametrize(
    "test", [" * Acc@1 {e}9.760 Acc@5 89.082", "Test:  Acc@1 {e}9.760 Acc@5 89.082"]
)
def test_references(tmp_path: Path, test: str) -> None:
    lines = ["Not using distributed mode", "Start training"]
    for e in range(2):
        lines += [
            f"Epoch: [{e}]  [ {i:4d}/20018]  eta: 1:19:23  lr: 0.1  img/s: 301.13 (287.02)  loss: 6.9105 (7.0172)  acc1: 0.0 (0.1)  acc5: 0.8 (0.6)  time: 0.2  data: 0.0004  max mem: 3019"
            for i in range(0, 20018, 5000)
        ]  # fmt: skip
        lines += [f"Epoch: [{e}] Total time: 1:06:4{e}"]
        lines += [
            "Test:   [   0/1563]  eta: 0:28:11  loss: 0.6 (0.6)  acc1: 84.3 (84.3)  acc5: 96.9 (96.9)  time: 1.1  data: 1.0  max mem: 3019"
        ]
        lines += [
            "Test:  Total time: 0:01:24",
            test.replace("{e}", str(e + 1)),
            "Test: EMA Acc@1 0.100 Acc@5 0.500",
        ]
    reading = read(tmp_path, "\n".join([*lines, "Training time 2:17:45\n"]), "ddp_1gpu_bs64.log")
    check(
        reading, table="training", epochs_done=2, time_s=8265.0, test_accuracy=0.2976,
        train_loss=None, images_per_s=None,
    )  # fmt: skip


def test_references_that_only_test(tmp_path: Path) -> None:
    text = "Test:   [   0/1563]  eta: 0:28:11  loss: 0.6 (0.6)  acc1: 84.3 (84.3)  acc5: 96.9 (96.9)  time: 1.1  data: 1.0  max mem: 3019\n"
    reading = read(
        tmp_path, text + "Test:  Total time: 0:01:24\nTest:  Acc@1 69.758 Acc@5 89.078\n"
    )
    check(reading, "missing_total", table=None, epochs_done=None, test_accuracy=0.69758)


@pytest.mark.parametrize("order", [1, -1])
def test_log_txt(tmp_path: Path, order: int) -> None:
    text = ""
    for epoch in range(4):
        line = {
            "train_lr": 7e-05,
            "train_loss": 1.5 - epoch / 10,
            "train_class_acc": None,
            "test_loss": 1.3 - epoch / 10,
            "test_acc1": 44.5 + epoch,
            "test_acc1_ema": 1.0,
            "test_acc5": 84.4,
            "epoch": epoch,
            "n_parameters": 304653828,
        }
        text += json.dumps(dict(list(line.items())[::order])) + "\n"
    reading = read(tmp_path, text)
    check(
        reading, "missing_total", table=None, epochs_done=4, train_loss=1.2, test_accuracy=0.475,
        train_accuracy=None,
    )  # fmt: skip
    assert "has no times: collect the console's log" in str(reading.row.reason)
    assert read(tmp_path, text[:-40]).row.epochs_done == 3


def test_log_txt_of_pretraining(tmp_path: Path) -> None:
    text = "".join(
        f'{{"train_lr": 1e-4, "train_loss": 0.{9 - e}1, "epoch": {e}}}\n' for e in range(3)
    )
    check(read(tmp_path, text), "missing_total", epochs_done=3, train_loss=0.71)


@pytest.mark.parametrize("start", ["", "[2021-04-12 10:11:12 swin_tiny](main.py 224): INFO "])
def test_swin(tmp_path: Path, start: str) -> None:
    text = "RANK and WORLD_SIZE in environ: 0/4\n"
    for e in range(2):
        text += "".join(
            f"{start}Train: [{e}/3][{i}/625]\teta 0:12:34 lr 0.000001\ttime 0.3512 (0.4021)\tloss 6.9123 (6.{9 - e}312)\tgrad_norm 1.2 (1.3)\tmem 9012MB\n"
            for i in (0, 10, 620)
        )  # fmt: skip
        text += f"{start}EPOCH {e} training takes 0:08:2{e}\n"
        text += f"{start}Test: [0/98]\tTime 1.2 (1.2)\tLoss 5.1 (5.1)\tAcc@1 3.9 (3.9)\tAcc@5 14.0 (14.0)\tMem 9012MB\n"
        text += f"{start} * Acc@1 {e + 9}.812 Acc@5 24.120\n{start}Max accuracy: 9.81%\n"
    check(
        read(tmp_path, text), "missing_total", "incomplete_epochs",
        table=None, epochs=3, epochs_done=2, test_accuracy=0.10812, train_loss=None,
    )  # fmt: skip
    reading = read(tmp_path, text.replace("/3]", "/2]") + f"{start}Training time 0:16:45\n")
    check(reading, table="training", epochs_done=2, workers=4, time_s=1005.0)
