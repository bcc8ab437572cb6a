"""What launchers and loggers put before a line, and the rank that they name there."""

from pathlib import Path

import pytest

from tests.logs.maker import finding_codes, read_lines

LINES = [
    *(f"Epoch {e}/3, Loss: 0.{10 - e}, Accuracy: {50 + e}%" for e in (1, 2, 3)),
    "Total training time: 91.2 seconds",
]


@pytest.mark.parametrize(
    "prefix",
    [
        "2026-02-07 20:30:03.585 | INFO     | __main__:train_dummy:54 - ",
        "2026-02-07 20:30:03.585 | SUCCESS  | pkg.train:<module>:9 - ",
        "05/15/2023 10:01:00 - INFO - __main__ - ", "05/15/2023 10:01:00 AM ",
        "2024/01/24 02:41:16 - mmengine - INFO - ", "[09/02 02:43:17 d2.engine]: ",
        "15.05.2023 10:01:00 ", "[2023-05-01, 12:00:00] ", "2023-05-01T12:00:00.123456789Z ",
        "2023-05-01 12:00:00 UTC ", "May 15 10:01:00 node7 train[4242]: ",
        "2023-05-01 12:00:00,123 - train.py:45 - INFO - ", "INFO:root:train.py:45:",
        "2023-05-01 12:00:00,123 INFO [train.py:45] ", "train.py:45 INFO: ",
        "INFO     train.py:45 ",
        "2023-05-01 12:00:00,123 INFO train.py(45): ", "WARNING:tensorflow:",
        "[INFO|trainer.py:1234] 2023-05-01 12:00:00,123 >> ", "[node01] ",
        "5/1/2023 9:01:00 PM ", "[5/1/2023, 12:00:00] ",
        "2023-05-01 12:00:00 [MainThread] INFO  train - ",
        "2023-05-01T12:00:00.1Z stdout F ", "[2023-05-01, 12:00:00 UTC] {subprocess.py:93} INFO - ",
        "10.0.0.1: ",
        # one process, whatever it is called
        "trainer-1  | ", "(RayTrainWorker pid=1234, ip=10.0.0.1) ", "node01: ",
    ],
)  # fmt: skip
def test_a_line_is_the_same_without_its_prefix(tmp_path: Path, prefix: str) -> None:
    plain = read_lines(tmp_path, LINES, "ddp_1gpu_bs32.log")
    reading = read_lines(tmp_path, [prefix + line for line in LINES], "ddp_1gpu_bs32.log")
    assert plain.row.table == "training"
    assert (reading.row, finding_codes(reading)) == (plain.row, set())


@pytest.mark.parametrize(
    "prefix",
    [
        "[GPU{r}] ", "[rank{r}] ", "[rank {r}] ", "[Rank: {r}] ", "[cuda:{r}] ", "[{r}] ",
        "(rank {r}) ", "<rank={r}> ", "[Rank {r}/2] ", "[GPU {r}]: ", "[worker-{r}] ",
        "[RANK {r}] - ",
        "[default{r}]:", "[trainer{r}]:", "{r}: ", " {r}: ", "[1,{r}]<stdout>:",
        "[1,mpirank:{r},algo-{r}]<stdout>:", "[prterun-node01-4242@1,{r}]<stdout>: ",
        "2023-05-01 12:00:00,123 [rank{r}] ", "[rank{r}]:[2023-05-01 12:00:00] INFO: ",
        "(TrainWorker pid=12, ip=10.0.0.7) [rank={r}] ", "node01: [rank{r}] ",
        "Rank {r}: ", "rank={r} ", "GPU {r} | ", "Process {r} - ", "local_rank={r} ",
        # processes without a rank are counted
        "trainer-{r}  | ", "(RayTrainWorker pid=12{r}4, ip=10.0.0.{r}) ", "node{r}7: ",
        "[pod/train-worker-{r}/pytorch] ",
    ],
)  # fmt: skip
def test_ranks_in_a_prefix_are_told_apart(tmp_path: Path, prefix: str) -> None:
    lines = [
        prefix.format(r=rank) + f"Epoch {epoch}/3, Loss: 0.{9 - epoch}{rank}"
        for epoch in (1, 2, 3)
        for rank in (0, 1)
    ]
    reading = read_lines(tmp_path, [*lines, LINES[-1]])
    assert (reading.row.table, reading.row.world_size_actual) == ("training", 2)
    assert reading.row.train_loss == pytest.approx(0.605)
    assert (reading.row.epochs_done, finding_codes(reading)) == (3, set())


@pytest.mark.parametrize("mark", ["[{}] ", "[rank0] [{}] ", "INFO - {} - ", "INFO {} - "])
@pytest.mark.parametrize("word", ["Val", "valid", "TEST", "eval"])
def test_a_mark_of_held_out_images_is_no_prefix(tmp_path: Path, mark: str, word: str) -> None:
    lines = [*LINES[:3], *(mark.format(word) + f"Epoch {e}/3, Accuracy: 9{e}%" for e in (1, 2, 3))]
    row = read_lines(tmp_path, [*lines, LINES[3]], "ddp_1gpu_bs32.log").row
    assert (row.table, row.train_accuracy) == ("training", 0.53)


def test_a_counter_in_brackets_is_no_rank(tmp_path: Path) -> None:
    lines = [f"[{e}] Epoch {e}/4, Loss: 0.{10 - e}" for e in (1, 2, 3, 4)]
    row = read_lines(tmp_path, [*lines, LINES[-1]], "ddp_1gpu_bs32.log").row
    assert (row.table, row.train_loss, row.world_size_actual) == ("training", 0.6, None)


@pytest.mark.parametrize(
    "line",
    [
        "Epoch: {e}, Loss: 0.{l}, Mean Rank: {r}.40", "Epoch: {e}, Loss: 0.{l}, mean rank: {r}",
        "Epoch: {e}, LoRA rank: {r}, Loss: 0.{l}", "Epoch: {e}, lora_rank={r}, Loss: 0.{l}",
        "Epoch: {e}, low-rank: {r}, Loss: 0.{l}", "Epoch: {e}, Loss: 0.{l}, mean_rank: {r}",
    ],
)  # fmt: skip
def test_the_word_rank_in_another_sense(tmp_path: Path, line: str) -> None:
    lines = [line.format(e=e, l=9 - e, r=100 - e) for e in range(1, 5)]
    reading = read_lines(tmp_path, [*lines, LINES[-1]], "ddp_1gpu_bs32.log")
    assert (reading.row.world_size_actual, reading.row.train_loss) == (None, 0.5)
    assert "rank_count_mismatch" not in finding_codes(reading)


JOINED = [
    "[GPU2] Epoch 0 | Loss: 0.91[GPU1] Epoch 0 | Loss: 0.92[GPU3] Epoch 0 | Loss: 0.93", "", "",
    "[GPU0] Epoch 0 | Loss: 0.90",
]  # fmt: skip


def test_lines_of_ranks_without_an_end_are_read_apart(tmp_path: Path) -> None:
    row = read_lines(tmp_path, [*JOINED, "Total time: 91.2 s"], "ddp_4gpu_bs32.log").row
    assert row.world_size_actual == 4
    assert row.train_loss == pytest.approx(0.915)


def test_a_line_torn_within_another_is_told(tmp_path: Path) -> None:
    lines = ["[GPU2] Epoch 0 | Los[GPU1] Epoch 0 | Loss: 0.92s: 0.91", *JOINED[3:]]
    reading = read_lines(tmp_path, [*lines, "Total time: 91.2 s"], "ddp_3gpu_bs32.log")
    assert any("torn" in finding.message for finding in reading.findings)
