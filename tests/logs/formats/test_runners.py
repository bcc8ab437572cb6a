"""Logs of timm, OpenMMLab and Detectron2."""
# ruff: noqa: E501 - lines of logs

from pathlib import Path

import pytest

from tests.logs.formats.maker import MPIRUN, SRUN, check, prefixed, read

REAL = "\nreal\t2m10.5s\nuser\t9m1.0s\nsys\t0m40.2s\n"

OLD = "Train: {e} [{i:>4d}/{n} ({p:>3.0f}%)]  Loss: {loss:>9.6f} ({mean:>6.4f})  Time: 0.352s, 2905.17/s  (0.356s, {r}.12/s)  LR: 1.000e-06  Data: 0.010 (0.015)"
NEW = "Train: {e} [{i:>4d}/{n} ({p:>3.0f}%)]  Loss: {loss:#.3g} ({mean:#.3g})  Time: 0.352s, 2905.17/s  (0.356s, {r}.12/s)  LR: 1.000e-06  Data: 0.010 (0.015)"


def timm(line: str, epochs: int = 3) -> str:
    lines = [
        "Training in distributed mode with multiple processes, 1 device per process.Process 0, total 4, device cuda:0.",
        "Model resnet50 created, param count:25557032",
        "Scheduled epochs: 3. LR stepped per epoch.",
    ]
    for e in range(epochs):
        lines += [
            line.format(
                e=e, i=i, n=625, p=i / 6.24, loss=6.9, mean=6.9 - e / 10 - i / 6240, r=2800 + e
            )
            for i in (0, 200, 400, 600, 624)
        ]
        lines += [
            f"Test: [{i:>4d}/48]  Time: 0.2 (0.3)  Loss:  1.02 ( 1.{9 - e})  Acc@1: {71 - i} ({20 + e}.{i:04d})  Acc@5: 90.1 ( 89.5)"
            for i in (0, 48)
        ]
        lines += [
            "Test (EMA): [  48/48]  Time: 0.2 (0.3)  Loss:  6.9 ( 6.9)  Acc@1: 0.1 ( 0.1)  Acc@5: 0.5 ( 0.5)"
        ]
        lines += [
            "Current checkpoints:",
            f" ('./output/train/checkpoint-{e}.pth.tar', {20 + e}.0048)",
            "",
        ]
    return "\n".join(lines) + "\n"  # fmt: skip


@pytest.mark.parametrize("line", [OLD, NEW])
@pytest.mark.parametrize("prefix", ["", SRUN])
def test_timm(tmp_path: Path, line: str, prefix: str) -> None:
    text = prefixed(prefix, timm(line) + "*** Best metric: 22.0048 (epoch 2)\n")
    check(
        read(tmp_path, text + REAL), "missing_total",
        table="training", epochs_done=3, epochs=3, workers=4, model="resnet50", time_s=130.5,
        train_loss=6.6, test_accuracy=0.220048, test_loss=1.7, images_per_s=2802.12,
    )  # fmt: skip


def test_timm_cut_off(tmp_path: Path) -> None:
    text = timm(OLD)
    in_test = text[: text.rindex("Test: [  48")]
    reading = read(tmp_path, in_test)
    check(reading, "missing_total", table=None, epochs_done=3, test_accuracy=0.210048)
    assert str(reading.row.reason).endswith("run it under the shell's `time`")
    in_epoch = text[: text.rindex("Train: 2 [ 624")]
    check(
        read(tmp_path, in_epoch), "missing_total", "incomplete_epochs",
        epochs_done=2, test_accuracy=0.210048, train_loss=6.7,
    )  # fmt: skip


def test_summary_of_timm(tmp_path: Path) -> None:
    text = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n"
    text += "".join(f"{e},6.{9 - e}12,6.8,{e + 1}.5,2.13,1e-06\n" for e in range(3))
    check(
        read(tmp_path, text, "summary.csv"), "missing_total", table=None, epochs_done=3, train_loss=6.712,
        test_accuracy=0.035, test_loss=6.8,
    )  # fmt: skip


def mmengine(epochs: int = 2) -> str:
    date = "2024/01/24 02:41:1{e} - mmengine - INFO - "
    lines = [
        "    Distributed launcher: pytorch",
        "    Distributed training: True",
        "    GPU number: 4",
        "train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)",
    ]
    for e in range(1, epochs + 1):
        start = date.replace("{e}", str(e))
        lines += [
            f"{start}Epoch(train)  [{e}][{i:3d}/156]  base_lr: 2.0e-03 lr: 3.9e-04  eta: 1 day, 14:57:00  time: 0.5540  data_time: 0.0036  memory: 12221  loss: 2.{i}"
            for i in (50, 100, 150)
        ]
        lines += [f"{start}Exp name: resnet50_20240124", f"{start}Saving checkpoint at {e} epochs"]
        lines += [
            f"{start}Epoch(val)  [{e}][10/33]    eta: 0:00:10  time: 0.0500  data_time: 0.0100  memory: 900  "
        ]
        lines += [
            f"{start}Epoch(val) [{e}][33/33]    accuracy/top1: 6{e}.5000  accuracy/top5: 84.1  data_time: 0.0100  time: 0.0500"
        ]
    return "\n".join(lines) + "\n"  # fmt: skip


@pytest.mark.parametrize("prefix", ["", SRUN, MPIRUN])
def test_mmengine(tmp_path: Path, prefix: str) -> None:
    reading = read(tmp_path, prefixed(prefix, mmengine()) + REAL)
    check(
        reading, "missing_total", table="training", epochs=2, epochs_done=2, workers=4,
        time_s=130.5, test_accuracy=0.625, train_loss=None,
    )  # fmt: skip


def test_mmengine_cut_off(tmp_path: Path) -> None:
    text = mmengine()
    reading = read(tmp_path, text[: text.rindex("Epoch(val) [2]")])
    check(
        reading, "missing_total", "incomplete_epochs",
        table=None, epochs_done=1, test_accuracy=0.615,
    )  # fmt: skip
    assert "OpenMMLab's programs print no total" in str(reading.row.reason)


def test_mmengine_by_iterations(tmp_path: Path) -> None:
    text = "".join(
        f"2024/01/24 02:41:16 - mmengine - INFO - Iter(train) [{i:5d}/20000]  lr: 9.9e-03  eta: 12:20:11  time: 0.{5 + i // 200}540  data_time: 0.0036  memory: 12221  loss: 2.0\n"
        for i in (100, 200, 300)
    )  # fmt: skip
    text += "2024/01/24 02:43:16 - mmengine - INFO - Iter(val) [33/33]    aAcc: 78.1200  mIoU: 40.1200\n"
    reading = read(tmp_path, text + REAL)
    check(
        reading, "missing_total", "incomplete_epochs",
        table="training", steps=300, epochs_done=None,
    )  # fmt: skip
    assert reading.row.images_per_s == pytest.approx(4 * 64 / 0.654)


def test_mmcv(tmp_path: Path) -> None:
    text = "2021-07-14 13:52:19,825 - mmcls - INFO - workflow: [('train', 1)], max: 2 epochs\n"
    for e in (1, 2):
        text += "".join(
            f"2021-07-14 13:52:26,135 - mmcls - INFO - Epoch [{e}][{i}/35]\tlr: 1.000e-02, eta: 0:10:35, time: 0.611, data_time: 0.212, memory: 2962, loss: 1.4048\n"
            for i in (10, 20, 30)
        )  # fmt: skip
        text += f"[>>>>>>>>>>] 50/50, 163.1 task/s, elapsed: 0s, ETA:     0s2021-07-14 13:52:36,901 - mmcls - INFO - Epoch(val) [{e}][2]\taccuracy_top-1: {e}2.0000, accuracy_top-3: 38.0000\n"
    check(
        read(tmp_path, text + REAL), "missing_total",
        table="training", epochs=2, epochs_done=2, test_accuracy=0.22,
    )  # fmt: skip


def test_json_of_mmcv_and_mmengine(tmp_path: Path) -> None:
    text = '{"env_info": "sys.platform: linux", "seed": 0}\n'
    for e in (1, 2):
        text += f'{{"mode": "train", "epoch": {e}, "iter": 10, "lr": 0.01, "memory": 2962, "data_time": 0.212, "loss": 1.4, "time": 0.6}}\n'
        text += f'{{"mode": "val", "epoch": {e}, "iter": 2, "lr": 0.01, "accuracy_top-1": {e}2.0, "accuracy_top-3": 38.0}}\n'
    check(read(tmp_path, text), "missing_total", table=None, epochs_done=2, test_accuracy=0.22)
    text = ""
    for e in (1, 2):
        text += f'{{"lr": 0.01, "data_time": 0.2, "loss": 1.4, "time": 0.5, "epoch": {e}, "iter": {30 * e}, "memory": 2962, "step": {30 * e}}}\n'
        text += f'{{"accuracy/top1": {e}1.5, "accuracy/top5": 84.1, "data_time": 0.01, "time": 0.05, "step": {e}}}\n'
    check(
        read(tmp_path, text), "missing_total",
        table=None, steps=60, test_accuracy=0.215, images_per_s=512.0,
    )  # fmt: skip


def detectron2(start: str, last: int = 1999) -> str:
    lines = [
        f"{start.format('detectron2')}Rank of current process: 0. World size: 4",
        "SOLVER:",
        "  IMS_PER_BATCH: 16",
        "  MAX_ITER: 2000",
    ]
    lines += [
        f"{start.format('d2.utils.events')} eta: 1 day, 0:12:34  iter: {i}  total_loss: 1.224  loss_cls: 0.61  loss_box_reg: 0.5    time: 0.2000  last_time: 0.2511  data_time: 0.0032  last_data_time: 0.0021   lr: 0.00019981  max_mem: 2500M"
        for i in range(19, last + 1, 20)
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("start", ["[09/02 02:43:17 {}]: ", "[09/02 02:43:17] {} INFO: "])
@pytest.mark.parametrize("prefix", ["", SRUN])
def test_detectron2(tmp_path: Path, start: str, prefix: str) -> None:
    hooks = start.format("d2.engine.hooks")
    end = f"{hooks}Overall training speed: 1998 iterations in 0:06:13 (0.1867 s / it)\n"
    end += f"{hooks}Total training time: 0:06:14 (0:00:01 on hooks)\n"
    text = prefixed(prefix, detectron2(start) + end)
    check(
        read(tmp_path, text, "mine.log"), table="training", workers=4, steps=2000, time_s=374.0,
        batch_size_global=16, images_per_s=80.0,
    )  # fmt: skip


def test_detectron2_cut_off(tmp_path: Path) -> None:
    text = detectron2("[09/02 02:43:17 {}]: ", last=1239)
    check(read(tmp_path, text), "missing_total", "incomplete_epochs", table=None, steps=1240)


def test_the_total_of_detectron2_after_a_restart(tmp_path: Path) -> None:
    start = "[09/02 02:43:17 {}]: "
    whole, part = detectron2(start), detectron2(start, last=999)
    total = start.format("d2.engine.hooks") + "Total training time: 0:03:14 (0:00:01 on hooks)\n"
    rest = whole.replace(part, "")
    resumed = start.format("d2.engine.train_loop") + "Starting training from iteration 1000\n"
    killed = "slurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2024-05-01T12:00:00 DUE TO NODE FAILURE ***\n"
    for text in (part + killed + rest, part + resumed + rest, resumed + rest):
        row = read(tmp_path, text + total).row
        assert row.table is None
        assert row.reason == "its total may lack the 1000 steps before its last part"
    row = read(tmp_path, resumed.replace("1000", "0") + whole + total).row
    assert (row.table, row.steps, row.time_s) == ("training", 2000, 194.0)


def test_json_of_detectron2(tmp_path: Path) -> None:
    text = "".join(
        f'{{"data_time": 0.008, "eta_seconds": 12.5, "iteration": {i}, "loss_cls": 0.53, "lr": 0.0071, "time": 0.25, "total_loss": 1.92}}\n'
        for i in (19, 39, 59)
    )  # fmt: skip
    check(read(tmp_path, text), "missing_total", table=None, steps=60, images_per_s=1024.0)
