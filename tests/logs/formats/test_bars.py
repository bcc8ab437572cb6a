"""Logs of programs whose progress bars name their epoch: YOLO, Lightning, Horovod."""
# ruff: noqa: E501 - lines of logs

from pathlib import Path

import pytest

from tests.logs.formats.maker import SRUN, TORCHRUN, check, prefixed, read

REAL = "\nreal\t3m10.5s\nuser\t9m1.0s\nsys\t0m40.2s\n"
BAR = "100%|\u2588\u2588\u2588\u2588|"


def yolo(
    columns: str,
    row: str,
    first: int,
    epochs: int = 3,
    tail: str = BAR + " 500/500 [01:0{e}<00:00,  8.06it/s]",
) -> str:
    text = "Starting training for 3 epochs...\n"
    for e in range(first, first + epochs):
        text += f"\n      Epoch    {columns}\n"
        shown = f"{e}/{first + 2}".rjust(11) + "      2.51G" + row.replace("{e}", str(e))
        text += f"{shown}:   2%|1    | 12/500 [00:01<01:00,  8.06it/s]\r"
        text += (
            f"{shown}: {tail.replace('{e}', str(e))}\r" * 2
            + f"{shown}: {tail.replace('{e}', str(e + 1))}\n"
        )
        text += "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|##| 4/4 [00:01<00:00,  2.6it/s]\n"
        text += "                   all        128        929      0.65      0.602      0.701      0.523\n"
    return text  # fmt: skip


DETECT = "GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size"


@pytest.mark.parametrize("prefix", ["", TORCHRUN])
@pytest.mark.parametrize(
    "tail",
    [
        BAR + " 500/500 [01:0{e}<00:00,  8.06it/s]",
        "100% \u2501\u2501\u2501\u2501 500/500 8.1it/s 1:0{e}",
    ],
)
def test_yolo(tmp_path: Path, tail: str, prefix: str) -> None:
    text = "DDP: debug command /usr/bin/python -m torch.distributed.run --nproc_per_node 4 --master_port 51017 x.py\n"
    text += yolo(DETECT, "      1.2      2.6      1.3        198        640", 1, tail=tail)
    reading = read(tmp_path, prefixed(prefix, text + "\n3 epochs completed in 0.055 hours.\n"))
    check(
        reading, table="training", workers=4, epochs=3, epochs_done=3, train_loss=None,
        test_accuracy=None,
    )  # fmt: skip
    assert reading.row.time_s == pytest.approx(198.0)


def test_yolo_cut_off(tmp_path: Path) -> None:
    text = yolo(DETECT, "      1.2      2.6      1.3        198        640", 1)
    cut = text[: text.index(": 100%", text.index(" 3/3 "))]
    reading = read(tmp_path, cut)
    check(reading, "missing_total", "incomplete_epochs", table=None, epochs_done=2, epochs=3)


def test_yolo_that_stops_early(tmp_path: Path) -> None:
    text = yolo(DETECT, "      1.2      2.6      1.3        198        640", 1)
    text = text.replace("for 3 epochs", "for 50 epochs").replace("/3 ", "/50 ")
    reading = read(tmp_path, text + "\n3 epochs completed in 0.055 hours.\n")
    check(reading, "incomplete_epochs", table="training", epochs=50, epochs_done=3)


def test_yolo_that_classifies(tmp_path: Path) -> None:
    text = yolo(
        "GPU_mem       loss  Instances       Size", "      1.{e}34         16        224", 1
    )
    text = text.replace(
        "all        128        929      0.65      0.602      0.701      0.523",
        "all      0.875      0.991",
    )
    text += "3 epochs completed in 0.055 hours.\n"
    text += "               classes   top1_acc   top5_acc: 100%|##| 157/157 [00:30<00:00,  5.12it/s]                   all      0.994          1\n"
    reading = read(tmp_path, text)
    check(reading, table="training", epochs_done=3, train_loss=1.334, test_accuracy=0.994)


def test_yolov5(tmp_path: Path) -> None:
    for columns, row in (
        ("gpu_mem       box       obj       cls    labels  img_size", "   0.07745    0.0277   0.01785        12       640"),
        ("GPU_mem   box_loss   obj_loss   cls_loss  Instances       Size", "   0.07745    0.0277   0.01785        12       640"),
    ):  # fmt: skip
        text = yolo(columns, row, 0, tail=BAR + " 500/500 01:0{e}")
        reading = read(tmp_path, text + "3 epochs completed in 0.053 hours.\n")
        check(reading, table="training", epochs_done=3, epochs=3, train_loss=None)
        assert reading.row.time_s == pytest.approx(190.8)


def test_yolov5_that_classifies(tmp_path: Path) -> None:
    text = "Starting yolov5s-cls.pt training on cifar10 dataset with 10 classes for 2 epochs...\n\n     Epoch     GPU_mem  train_loss    val_loss    top1_acc    top5_acc\n"
    for e in (1, 2):
        text += f"       {e}/2      0.91G        2.1{' ' * 36}:  50%|##  | 150/309 [00:40<00:40, 15.1it/s]\r"
        text += f"       {e}/2      0.91G       2.1{e}        1.98       0.{e}54       0.81: {BAR} 309/309 [01:20<00:00, 15.1it/s]\n"
    reading = read(tmp_path, text + "\nTraining complete (0.045 hours)\n", "ddp_1gpu_bs64.log")
    check(
        reading, table="training", epochs=2, epochs_done=2, time_s=162.0, train_loss=2.12,
        test_loss=1.98, test_accuracy=0.254,
    )  # fmt: skip


def lightning(epochs: int = 3, *, took: str = "01:0{e}", loss: str = "train_loss_epoch") -> str:
    """The bar shows the epoch's means only after its end, and until then those before."""
    text = "GPU available: True (cuda), used: True\n"
    text += "".join(
        f"Initializing distributed: GLOBAL_RANK: {r}, MEMBER: {r + 1}/4\n" for r in (0, 2, 1, 3)
    )
    text += "All distributed processes registered. Starting with 4 processes\n\nSanity Checking DataLoader 0: 100%|##| 2/2 [00:00<00:00, 90.1it/s]\n"
    for e in range(epochs):
        time = took.replace("{e}", str(e))
        before = f", val_acc=0.8{e - 1}, {loss}=0.{7 - e}2" if e else ""
        text += f"Epoch {e}:   0%|          | 0/215 [00:00<?, ?it/s, v_num=0{before}]\r"
        text += f"Epoch {e}:  50%|##        | 107/215 [00:30<00:30,  3.3it/s, v_num=0, train_loss_step=0.9{before}]\r"
        text += f"Epoch {e}: 100%|##########| 215/215 [{time}<00:00,  3.3it/s, v_num=0, train_loss_step=0.9{before}]\r"
        text += "\nValidation DataLoader 0: 100%|##| 40/40 [00:02<00:00, 19.1it/s]\x1b[A\n"
        text += f"Epoch {e}: 100%|##########| 215/215 [{time}<00:00,  3.3it/s, v_num=0, train_loss_step=0.9, val_acc=0.8{e}, {loss}=0.{6 - e}2]"
    return text + "`Trainer.fit` stopped: `max_epochs=3` reached.\n"  # fmt: skip


@pytest.mark.parametrize("prefix", ["", SRUN])
def test_lightning(tmp_path: Path, prefix: str) -> None:
    reading = read(tmp_path, prefixed(prefix, lightning()) + REAL)
    check(
        reading, "missing_total", table="training", workers=4, epochs=3, epochs_done=3,
        train_loss=0.42, test_accuracy=0.82, time_s=190.5,
    )  # fmt: skip


def test_lightning_without_a_total(tmp_path: Path) -> None:
    # each epoch has its time
    check(read(tmp_path, lightning()), "missing_total", table="training", time_s=183.0)
    # whole seconds of a few are too coarse to add up
    reading = read(tmp_path, lightning(took="00:0{e}"))
    check(reading, "missing_total", table=None, epochs_done=3, time_s=None, train_loss=0.42)
    assert "Lightning prints no total" in str(reading.row.reason)


def test_lightning_does_not_say_whether_of_a_step(tmp_path: Path) -> None:
    reading = read(tmp_path, lightning(loss="train_loss") + REAL)
    check(reading, "missing_total", epochs_done=3, train_loss=None, test_accuracy=0.82)


def test_lightning_cut_off(tmp_path: Path) -> None:
    text = lightning()
    reading = read(
        tmp_path,
        text[
            : text.rindex(
                "Epoch 2: 100%|##########| 215/215 [01:02<00:00,  3.3it/s, v_num=0, train_loss_step=0.9, val_acc=0.81"
            )
        ],
    )
    check(
        reading, "missing_total", table=None, epochs_done=2, train_loss=0.52, test_accuracy=0.81,
    )  # fmt: skip


def test_a_time_limit_after_a_bar_at_its_end(tmp_path: Path) -> None:
    text = lightning()
    killed = "slurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2024-05-01T12:00:00 DUE TO TIME LIMIT ***"
    reading = read(tmp_path, text[: text.rindex("`Trainer.fit`")] + f"\n{killed}\n")
    check(reading, "missing_total", status="timeout", epochs_done=3, test_accuracy=0.82)


def test_a_time_limit_in_the_line_of_a_bar(tmp_path: Path) -> None:
    text = lightning()
    bar = text[: text.index("107/215", text.index("Epoch 2")) + 7] + " [00:30<00:30,  3.3it/s]"
    killed = "slurmstepd: error: *** STEP 4711.0 ON n1 CANCELLED AT 2024-05-01T12:00:00 DUE TO TIME LIMIT ***\nsrun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n"
    reading = read(tmp_path, bar + killed)
    check(
        reading, "missing_total", status="timeout", epochs_done=2, slurm_job_id="4711",
    )  # fmt: skip
    assert "DUE TO TIME LIMIT" in str(reading.row.reason)


def test_lightning_1_and_its_test(tmp_path: Path) -> None:
    text = "GPU available: True, used: True\n"
    for e in range(2):
        text += (
            f"Epoch {e}:  80%|########  | 215/268 [00:40<00:10,  5.3it/s, loss=0.066, v_num=13]\r"
        )
        text += f"Epoch {e}: 100%|##########| 268/268 [00:50<00:00,  5.3it/s, loss=0.066, v_num=13, val_loss=0.{e}12]\n"
    text += "DATALOADER:0 TEST RESULTS\n{'test_acc': 0.9712, 'test_loss': 0.0912}\n"
    check(
        read(tmp_path, text + REAL, "ddp_1gpu_bs64.log"), "missing_total",
        epochs_done=2, train_loss=None, test_loss=0.112, test_accuracy=0.9712,
    )  # fmt: skip


def test_lightning_of_rich(tmp_path: Path) -> None:
    text = "GPU available: True (cuda), used: True\n"
    for e in range(2):
        bar = "\u2501" * 14
        text += f"Epoch {e}/1 {bar} 100/215 0:00:35 \u2022 0:00:40 6.37it/s v_num: 0.000\n"
        text += f"Epoch {e}/1 {bar} 215/215 0:01:15 \u2022 0:00:00 6.37it/s v_num: 0.000 train_loss_epoch: 0.{e}10 val_acc: 0.8{e}2\n"
    text += "`Trainer.fit` stopped: `max_epochs=2` reached.\n"
    text += "\u2502         test_acc          \u2502    0.9712000489234924     \u2502\n"
    check(
        read(tmp_path, text), "missing_total",
        epochs_done=2, train_loss=0.11, test_accuracy=0.9712000489234924, time_s=150.0,
    )  # fmt: skip


def test_csv_of_lightning(tmp_path: Path) -> None:
    text = "epoch,step,train_loss,val_acc\n0,49,0.61,\n0,99,,0.82\n1,149,0.51,\n"
    reading = read(tmp_path, text, "metrics.csv")
    assert reading.row.table is None
    assert reading.row.epochs_done is None
    assert "'epoch,step,train_loss,val_acc'" in str(reading.row.reason)
    assert "the columns of Lightning's metrics.csv vary" in str(reading.row.reason)


@pytest.mark.parametrize("prefix", ["", "[1,0]<stdout>:"])
def test_horovod_synthetic(tmp_path: Path, prefix: str) -> None:
    text = "Model: resnet50\nBatch size: 32\nNumber of GPUs: 8\nRunning warmup...\nRunning benchmark...\n"
    text += "".join(f"Iter #{i}: 30{i}.2 img/sec per GPU\n" for i in range(10))
    text += "Img/sec per GPU: 305.1 +-2.3\nTotal img/sec on 8 GPU(s): 2440.8 +-18.4\n"
    reading = read(tmp_path, prefixed(prefix, text), "ddp_8gpu_bs32.log")
    check(
        reading, "missing_total", table=None, workers=8, images_per_s=2440.8, model="resnet50",
        batch_size_per_device=32,
    )  # fmt: skip


def test_horovod_imagenet(tmp_path: Path) -> None:
    text = ""
    for e in (1, 2):
        text += f"Train Epoch     #{e}:  50%|##   | 600/1251 [05:02<05:02,  2.08it/s, loss=6.99, accuracy=0.042]\r"
        text += f"Train Epoch     #{e}: 100%|#####| 1251/1251 [10:02<00:00,  2.08it/s, loss=6.{e}2, accuracy=0.{e}42]\n"
        text += f"Validate Epoch  #{e}:  50%|##   | 25/49 [00:15<00:15,  1.61it/s, loss=9.9, accuracy=99.1]\r"
        text += f"Validate Epoch  #{e}: 100%|#####| 49/49 [00:30<00:00,  1.61it/s, loss=5.9{e}, accuracy={e}.81]\n"
    check(
        read(tmp_path, text + REAL.replace("3m", "25m")), "missing_total",
        table="training", epochs_done=2, train_loss=6.22, train_accuracy=0.00242,
        test_loss=5.92, test_accuracy=0.0281, time_s=1510.5,
    )  # fmt: skip


def test_horovod_mnist_of_tensorflow(tmp_path: Path) -> None:
    text = "".join(f"Step #{i}\tLoss: 0.{i}1\n" for i in range(0, 500, 10))
    check(read(tmp_path, text + REAL), "missing_total", table="training", steps=491, time_s=190.5)


def test_yolo_resumed(tmp_path: Path) -> None:
    row = "      1.2      2.6      1.3        198        640"
    text = yolo(DETECT, row, 1, epochs=1) + "RuntimeError: NCCL communicator was aborted\n"
    rest = yolo(DETECT, row, 1).partition("\n      Epoch")[2].partition("\n      Epoch")
    reading = read(tmp_path, text + "".join(rest[1:]) + "\n2 epochs completed in 0.031 hours.\n")
    assert reading.row.table is None
    assert "its total lacks what was before 'RuntimeError" in (reading.row.reason or "")
