"""Logs of PyTorch's examples/imagenet and examples/mnist, and of programs that print alike."""
# ruff: noqa: E501 - lines of logs

from pathlib import Path

import pytest

from tests.logs.formats.maker import MPIRUN, SRUN, TORCHRUN, check, prefixed, read

REAL = "\nreal\t2m10.5s\nuser\t9m1.0s\nsys\t0m40.2s\n"


def imagenet(epochs: int = 3, *, last: int = 1001, copies: int = 1) -> str:
    """As since 2022: steps count from 1, one line in 100; all ``copies`` processes print."""
    lines = ["=> creating model 'resnet18'"]
    for epoch in range(epochs):
        for step in range(1, last + 1, 100):
            line = f"Epoch: [{epoch}][{step:4d}/1001]\tTime  0.{300 + step % 90} ( 0.402)\tData  0.010 ( 0.021)\t"
            line += f"Loss {6.9 - epoch / 10:.4e} ({6.95 - epoch / 10:.4e})\tAcc@1   {epoch + 1:.2f} ({epoch + 0.5:6.2f})\tAcc@5   3.12 (  2.90)"
            lines += [line] * copies
        lines += [
            "Test: [  1/196]\tTime  3.512 ( 3.512)\tLoss 5.1e+00 (5.1e+00)\tAcc@1   3.91 (  3.91)\tAcc@5  14.06 ( 14.06)"
        ] * copies
        lines += [f" *   Acc@1 {epoch + 4}.100 Acc@5 12.300"] * copies
    return "\n".join(lines) + "\n"  # fmt: skip


@pytest.mark.parametrize("prefix", ["", SRUN])
def test_imagenet(tmp_path: Path, prefix: str) -> None:
    reading = read(tmp_path, prefixed(prefix, imagenet()) + REAL, "ddp_1gpu_bs64.log")
    check(
        reading, "missing_total", table="training", epochs_done=3, time_s=130.5, model="resnet18",
        train_loss=6.75, train_accuracy=0.025, test_accuracy=0.061,
    )  # fmt: skip


def test_imagenet_that_only_evaluates(tmp_path: Path) -> None:
    text = imagenet()
    test = (
        text[text.index("Test: [") : text.index(" *   Acc@1")] + " *   Acc@1 76.130 Acc@5 92.862\n"
    )
    reading = read(tmp_path, test + REAL, "ddp_1gpu_bs64.log")
    check(reading, "missing_total", table=None, epochs_done=None, test_accuracy=0.7613)
    assert "its last values: '* Acc@1 76.130" in str(reading.row.reason)


def test_imagenet_of_processes_that_all_print(tmp_path: Path) -> None:
    # each has a mean of its own; of which rank a line is, it does not say
    lines = imagenet(copies=4).splitlines()
    lines = [line.replace("(6.7500e", f"(6.{70 + i % 4 * 2}00e") for i, line in enumerate(lines)]
    reading = read(tmp_path, "\n".join(lines) + REAL)
    check(
        reading, "missing_total", table="training", epochs_done=3, test_accuracy=0.061,
        train_loss=pytest.approx(6.73), world_size_actual=4,
    )  # fmt: skip
    reading = read(tmp_path, imagenet(last=1000, copies=4) + REAL)
    check(reading, "missing_total", table="training", epochs_done=3, train_loss=None)


def test_imagenet_of_processes_that_overtake_each_other(tmp_path: Path) -> None:
    lines = imagenet(3, last=1000).splitlines()
    late = lines.index(next(line for line in lines if line.startswith("Epoch: [2][   1/")))
    lines.insert(late + 1, lines[late - 3])  # of epoch 1
    reading = read(tmp_path, "\n".join(lines[: late + 4]) + "\n")
    check(reading, "missing_total", epochs_done=2, table=None)


def test_imagenet_cut_off(tmp_path: Path) -> None:
    text = imagenet(3)
    before_test = text[: text.rindex("Test:")]
    reading = read(tmp_path, before_test[: before_test.rindex("Epoch: [2][1001")])
    check(reading, "missing_total", epochs_done=2, test_accuracy=0.051, table=None)
    assert "run it under the shell's `time`" in str(reading.row.reason)
    assert read(tmp_path, text).row.epochs_done == 3


def test_imagenet_before_2019_and_apex(tmp_path: Path) -> None:
    old = "".join(
        f"Epoch: [{e}][{i}/5005]\tTime 0.405 (1.204)\tData 0.301 (0.811)\tLoss 6.9100 (7.0110)\tPrec@1 0.000 (0.142)\tPrec@5 0.391 (0.640)\n"
        for e in range(2) for i in range(0, 5005, 1000)
    ) + " * Prec@1 14.120 Prec@5 33.800\n"  # fmt: skip
    check(
        read(tmp_path, old + REAL), "missing_total",
        epochs_done=2, test_accuracy=0.1412, train_loss=None, images_per_s=None,
    )  # fmt: skip
    apex = old.replace("\tData 0.301 (0.811)", "\tSpeed 690.121 (283.186)")
    check(read(tmp_path, apex + REAL), "missing_total", epochs_done=2, images_per_s=283.186)
    assert "its last values: 'Epoch: [0][5000/5005]" in str(read(tmp_path, old).row.reason)


def test_numbers_of_epochs_from_1_and_no_accuracy(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch: [{e}/2][{i:3d}/391]\tTime  0.10 ( 0.11)\tData  0.00 ( 0.01)\tLoss -0.{e}100 (-0.{e}110)\n"
        for e in (1, 2) for i in (1, 196, 391)
    )  # fmt: skip
    reading = read(tmp_path, text + "Total training time: 91.2 s\n")
    check(reading, epochs=2, epochs_done=2, train_loss=-0.211, time_s=91.2, train_accuracy=None)


def mnist(epochs: int, accuracy: str = "Accuracy: 981{e}/10000 (98%)") -> str:
    lines = []
    for e in range(1, epochs + 1):
        for done in range(0, 60000, 6400):
            lines += [
                f"Train Epoch: {e} [{done}/60000 ({done // 600}%)]\tLoss: {2 / (e + done):.6f}"
            ]
        lines += ["", f"Test set: Average loss: 0.0{e}78, {accuracy.replace('{e}', str(e))}", ""]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("prefix", ["", SRUN, TORCHRUN])
def test_mnist(tmp_path: Path, prefix: str) -> None:
    text = prefixed(prefix, mnist(3)) + "Total cost time: 51.2 seconds\n"
    reading = read(tmp_path, text.replace("cost", "training"), "ddp_1gpu_bs64.log")
    check(
        reading, table="training", epochs_done=3, time_s=51.2, train_loss=None,
        test_loss=0.0378, test_accuracy=0.9813,
    )  # fmt: skip


def test_mnist_of_horovod(tmp_path: Path) -> None:
    ranks = [
        prefixed(MPIRUN.replace("0", str(r)), mnist(2, "Accuracy: 98.{e}0%")) for r in range(4)
    ]
    reading = read(tmp_path, "".join(ranks) + REAL)
    check(
        reading, "missing_total", table="training", world_size_actual=4, epochs_done=2,
        test_accuracy=0.982, time_s=130.5,
    )  # fmt: skip


def test_mnist_cut_off(tmp_path: Path) -> None:
    text = mnist(3)
    cut = text[: text.rindex("Test set")]
    check(read(tmp_path, cut), "missing_total", table=None, epochs_done=2, test_accuracy=0.9812)


def test_mnist_of_fsdp_and_vae(tmp_path: Path) -> None:
    text = "".join(
        f"Train Epoch: {e} \tLoss: 0.{9 - e}08313\nTest set: Average loss: 0.0{e}, Accuracy: 98{e}0/10000 (98.{e}0%)\n\n"
        for e in (1, 2)
    )  # fmt: skip
    check(
        read(tmp_path, text + REAL), "missing_total",
        epochs_done=2, train_loss=0.708313, test_accuracy=0.982,
    )  # fmt: skip
    text = "".join(
        f"Train Epoch: {e} [0/60000 (0%)]\tLoss: 550.1\n====> Epoch: {e} Average loss: 1{e}4.2104\n====> Test set loss: 10{e}.5\n"
        for e in (1, 2)
    )  # fmt: skip
    check(
        read(tmp_path, text + REAL), "missing_total",
        epochs_done=2, train_loss=124.2104, test_loss=102.5,
    )  # fmt: skip


def test_cifar100(tmp_path: Path) -> None:
    text = ""
    for e in (1, 2):
        text += "".join(
            f"Training Epoch: {e} [{i}/50000]\tLoss: 4.{i % 97}\tLR: 0.1\n"
            for i in (128, 25600, 50000)
        )
        text += f"epoch {e} training time consumed: 6{e}.33s\nEvaluating Network.....\n"
        text += f"Test set: Epoch: {e}, Average loss: 0.0328, Accuracy: 0.{e}561, Time consumed:2.13s\n\n"
    check(
        read(tmp_path, text + REAL), "missing_total",
        table="training", epochs_done=2, time_s=130.5, train_loss=None, test_accuracy=0.2561,
    )  # fmt: skip


def test_yolox(tmp_path: Path) -> None:
    text = "".join(
        f"2021-07-20 10:11:12 | INFO     | yolox.core.trainer:after_iter:249 - epoch: {e}/3, iter: {i}/95, mem: 5021Mb, iter_time: 0.312s, data_time: 0.001s, total_loss: 17.8, iou_loss: 4.7, lr: 1.142e-06, size: 640, ETA: 3 days, 1:02:03\n"
        for e in (1, 2, 3) for i in (10, 50, 90)
    )  # fmt: skip
    check(read(tmp_path, text + REAL), "missing_total", table="training", epochs_done=3, epochs=3)
    check(
        read(tmp_path, text[: text.rindex("2021-")]), "missing_total", "incomplete_epochs",
        table=None, epochs_done=2,
    )  # fmt: skip


def test_the_tutorial_of_ddp(tmp_path: Path) -> None:
    lines = [
        f"[GPU{rank}] Epoch {epoch} | Batchsize: 32 | Steps: 8"
        for epoch in range(3)
        for rank in range(4)
    ]
    text = "\n".join([*lines[:8], "Epoch 1 | Training snapshot saved at snapshot.pt", *lines[8:]])
    check(
        read(tmp_path, f"{text}\n{REAL}", "ddp_4gpu_bs32.log"), "missing_total",
        table="training", epochs_done=3, world_size_actual=4, train_loss=None,
    )  # fmt: skip
    # the last epoch began
    check(read(tmp_path, text + "\n", "ddp_4gpu_bs32.log"), "missing_total", epochs_done=2)
