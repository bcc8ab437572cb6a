"""Lines of an epoch that come several times: ranks, steps, restarts, or two runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.logs.maker import finding_codes, read_lines

TOTAL = "Training took 91.2 seconds"


def epoch(e: int, rank: int, prefix: str = "") -> str:
    return f"{prefix}Epoch {e}/3, Loss: 0.{9 - e}{rank}, Accuracy: {50 + e}.{rank}%"


def test_as_many_lines_of_each_epoch_as_gpus_are_ranks(tmp_path: Path) -> None:
    lines = ["Number of GPUs: 4", *(epoch(e, r) for e in (1, 2, 3) for r in range(4))]
    totals = [f"Training took 91.{r} seconds" for r in range(2, 6)]
    reading = read_lines(tmp_path, lines + totals, "ddp_4gpu_bs32.log")
    row = reading.row
    assert (row.table, row.time_s, row.world_size_actual) == ("training", 91.5, 4)
    assert row.train_loss == pytest.approx(0.615)
    assert row.epochs_done == 3
    assert finding_codes(reading) == set()


def test_ranks_may_print_the_same(tmp_path: Path) -> None:
    lines = [*(epoch(e, 0) for e in (1, 2, 3) for _ in range(2)), TOTAL]
    reading = read_lines(tmp_path, lines)
    assert reading.row.world_size_actual == 2
    assert reading.row.train_loss == pytest.approx(0.6)
    assert finding_codes(reading) == set()


def test_local_ranks_of_two_nodes(tmp_path: Path) -> None:
    lines = [
        epoch(e, local + 2 * node, f"[default{local}]:")
        for e in (1, 2, 3) for node in (0, 1) for local in (0, 1)
    ]  # fmt: skip
    totals = [f"[default{r % 2}]:Training took 91.{r} s" for r in range(4)]
    reading = read_lines(tmp_path, lines + totals, "ddp_4gpu_bs32.log")
    row = reading.row
    assert (row.table, row.time_s, row.world_size_actual) == ("training", 91.3, 4)
    assert row.train_loss == pytest.approx(0.615)
    assert finding_codes(reading) == set()


@pytest.mark.parametrize("ranks", [2, 3])
def test_lines_in_turn_that_nobody_explains_are_no_two_runs(tmp_path: Path, ranks: int) -> None:
    lines = [*(epoch(e, r) for e in (1, 2, 3) for r in range(ranks)), TOTAL]
    reading = read_lines(tmp_path, lines, "ddp_4gpu_bs32.log")
    messages = " ".join(finding.message for finding in reading.findings)
    assert "lines of steps, or of ranks that print no number" in messages
    assert "two runs" not in messages + (reading.row.reason or "")
    assert (reading.row.train_loss, reading.row.train_accuracy) == (None, None)


@pytest.mark.parametrize("name", ["ddp_1gpu_bs32.log", "ddp_2gpu_bs32.log"])
def test_one_run_after_the_other_is_refused(tmp_path: Path, name: str) -> None:
    lines = [*(epoch(e, r) for r in (0, 1) for e in (1, 2, 3)), TOTAL, "Training took 71 s"]
    reading = read_lines(tmp_path, lines, name)
    assert reading.row.table is None
    assert "restarted" in finding_codes(reading)
    assert any("two runs in one file" in finding.message for finding in reading.findings)


def test_epochs_repeated_after_a_failure_are_a_restart(tmp_path: Path) -> None:
    failed = "slurmstepd: error: *** JOB 41 ON n1 CANCELLED AT 2023-05-01T12:00 ***"
    lines = [epoch(1, 0), epoch(2, 0), failed, epoch(1, 1), epoch(2, 1), epoch(3, 1), TOTAL]
    reading = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log")
    messages = [f.message for f in reading.findings if f.code == "restarted"]
    assert any("restarted after 'slurmstepd" in message for message in messages)
    assert not any("two runs" in message for message in messages)


def test_rank_0_prints_epochs_and_all_their_totals(tmp_path: Path) -> None:
    lines = [f"[rank0] Epoch {e}/3, Loss: 0.{9 - e}" for e in (1, 2, 3)]
    lines += [f"[rank{r}] Total training time: 91.{r} s" for r in range(4)]
    reading = read_lines(tmp_path, lines, "ddp_4gpu_bs32.log")
    assert (reading.row.table, reading.row.world_size_actual) == ("training", 4)
    assert (reading.row.time_s, finding_codes(reading)) == (91.3, set())


def test_a_total_of_each_gpu_is_one_run(tmp_path: Path) -> None:
    lines = [*(epoch(e, 0) for e in (1, 2, 3)), "Total time: 91.2 s", "Total time: 91.3 s"]
    reading = read_lines(tmp_path, lines)
    assert (reading.row.table, reading.row.time_s) == ("training", 91.3)
    assert finding_codes(reading) == set()


STEPS: dict[str, Callable[[int, int], str]] = {
    "json": lambda e, s: f'{{"global_step": {s}, "epoch": {e}, "loss": {1 / (s + 1):.3f}}}',
    "json-batch": lambda e, s: f'{{"epoch": {e}, "batch_idx": {s}, "loss": 0.{s}}}',
    "words": lambda e, s: f"Epoch: {e}, global_step: {s}, loss: 0.{s}",
    "batch": lambda e, s: f"Epoch: {e}, Batch: {s}, loss: 0.{s}",
    "num_updates": lambda e, s: f"epoch: {e} num_updates: {s} loss: 0.{s}",
    "of-all": lambda e, s: f"Epoch {e} | {s}/300 | loss: 0.{s}",
    "fraction": lambda e, s: f"epoch: {e}.{s} loss: 0.{s}",
}


@pytest.mark.parametrize("style", STEPS)
def test_steps_are_not_read_as_epochs(tmp_path: Path, style: str) -> None:
    lines = [STEPS[style](e, 20 + 100 * e + s) for e in range(3) for s in (0, 40, 80)]
    row = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log").row
    assert (row.table, row.epochs_done, row.train_loss) == (None, None, None)
    assert f"not read: '{lines[0]}" in (row.reason or "")


@pytest.mark.parametrize(
    "line",
    [
        "Epoch {e}/3, train_loss: 0.9, val_loss: 1.0, accuracy: 0.7{e}",
        "Epoch {e}/3, test_loss: 1.0, acc: 0.7{e}",
        "Epoch {e}/3 | val_acc: 0.7{e} | loss: 0.5",
        '{{"epoch": {e}, "val_loss": 1.0, "accuracy": 0.7{e}}}',
        "Epoch {e}: eval-loss=0.5 top-1=70.{e}",
    ],
)
def test_whose_value_it_is_must_be_clear(tmp_path: Path, line: str) -> None:
    lines = [line.format(e=e) for e in (1, 2, 3)]
    row = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log").row
    assert (row.train_accuracy, row.train_loss, row.table) == (None, None, None)
    assert f"not read: '{lines[0]}" in (row.reason or "")


def test_an_accuracy_in_percent_by_its_name(tmp_path: Path) -> None:
    lines = [f"Epoch {e}, loss: 0.5, Acc(%): 0.{e}2, Val Acc [%] = 0.{e}4" for e in (1, 2)]
    row = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log").row
    assert (row.train_accuracy, row.test_accuracy) == (0.0022, 0.0024)


@pytest.mark.parametrize(
    ("values", "share"),
    [
        (["12.5", "45.2", "0.9"], 0.009),  # percent, as most are
        (["0.125", "0.452", "0.9"], 0.9),
        (["0.5%", "0.7%", "0.9%"], 0.009),
        (["45.2", "0.125"], None),  # which of the two they are nobody knows
    ],
)
def test_an_accuracy_below_one_in_percent(
    tmp_path: Path, values: list[str], share: float | None
) -> None:
    lines = [f"Epoch {e}, loss: 0.5, val_acc: {value}" for e, value in enumerate(values)]
    row = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log").row
    assert row.test_accuracy == share


@pytest.mark.parametrize(
    "line",
    [
        '{{"train_loss": 0.{l}, "test_acc1": 7{e}.0, "epoch": {e}}}',
        '{{"epoch": {e}, "train_loss": 0.{l}, "test_acc1": 7{e}.0, "lr": 1e-3}}',
        "{{'lr': 0.1, 'val_acc': 0.7{e}, 'loss': 0.{l}, 'epoch': {e}}}",
        '{{"epoch": "{e}", "loss": "0.{l}", "val_accuracy": "0.7{e}"}}',
    ],
)
def test_values_before_and_after_the_epoch_of_a_json_line(tmp_path: Path, line: str) -> None:
    lines = [line.format(e=e, l=9 - e) for e in range(4)]
    row = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log").row
    assert (row.epochs_done, row.train_loss, row.test_accuracy) == (4, 0.6, 0.73)


def test_epochs_printed_every_tenth_time_are_no_gap(tmp_path: Path) -> None:
    lines = [f"Epoch: {e:03}, Loss: 0.{99 - e}" for e in range(10, 60, 10)]
    reading = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log")
    assert not any("missing in between" in finding.message for finding in reading.findings)
    gap = read_lines(tmp_path, [*lines[:2], *lines[3:], TOTAL], "ddp_1gpu_bs32.log")
    assert any("missing in between" in finding.message for finding in gap.findings)


def test_a_tutorial_with_values_below_the_epochs_time(tmp_path: Path) -> None:
    lines = [
        line
        for e in (1, 2, 3)
        for line in (
            f"Epoch: {e:02} | Epoch Time: 0m 3{e}s",
            f"\tTrain Loss: 0.{9 - e} | Train Acc: 5{e}.00%",
            f"\t Val. Loss: 0.8 |  Val. Acc: 4{e}.00%",
        )
    ]
    row = read_lines(tmp_path, [*lines, "Total time: 97 s"], "ddp_1gpu_bs32.log").row
    assert (row.table, row.train_loss, row.train_accuracy) == ("training", 0.6, 0.53)
    assert (row.test_loss, row.test_accuracy) == (0.8, 0.43)


def test_values_above_the_epochs_line_are_of_no_epoch_that_is_sure(tmp_path: Path) -> None:
    lines = [
        line for e in (1, 2, 3) for line in (f"Train Loss: 0.{9 - e}", f"Epoch {e} took 4.{e} s")
    ]
    row = read_lines(tmp_path, [*lines, "Total time: 15 s"], "ddp_1gpu_bs32.log").row
    assert (row.train_loss, row.time_s) == (None, 15)


def test_several_values_below_a_heading_are_of_steps(tmp_path: Path) -> None:
    lines = ["Epoch 1/1", "train loss: 0.9 acc: 0.5", "train loss: 0.8 acc: 0.5", TOTAL]
    row = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log").row
    assert (row.train_loss, row.train_accuracy) == (None, 0.5)


def test_a_top_1_accuracy_below_one_may_be_percent(tmp_path: Path) -> None:
    lines = [f"Epoch {e}/3, loss: 0.{9 - e}, Acc@1 0.{e}5" for e in (1, 2, 3)]
    row = read_lines(tmp_path, [*lines, TOTAL], "ddp_1gpu_bs32.log").row
    assert (row.train_loss, row.train_accuracy) == (0.6, None)
    high = [line.replace("Acc@1 0.", "Acc@1 3.") for line in lines]
    assert read_lines(tmp_path, [*high, TOTAL], "ddp_1gpu_bs32.log").row.train_accuracy == 0.0335


def test_an_epoch_of_0_to_2_is_the_third(tmp_path: Path) -> None:
    reading = read_lines(tmp_path, [*(epoch(e, 0).replace("/3", "/2") for e in (0, 1, 2)), TOTAL],
                         "ddp_1gpu_bs32.log")  # fmt: skip
    assert (reading.row.epochs, reading.row.epochs_done) == (3, 3)
    assert finding_codes(reading) == set()
