"""Edited logs: each edit is reported in one line with its code and severity."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.logs.maker import PATTERN, log_lines, read_text
from weather_hpc.errors import UserError
from weather_hpc.logs import find_logs, read_logs

SOUND = "\n".join(log_lines()) + "\n"
CUT = "\n".join(log_lines()[20:]) + "\n"


def _times(factor: float) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{match[1]}{float(match[2]) * factor:.9f}"


KILLED = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2023-05-01T10:00:00 ***\n"
TOTALS = re.compile(r"(?m)^()(\d+\.\d+)$")
EPOCH_TIMES = re.compile(r"(Time: )([\d.]+)")
CHANGES: dict[str, tuple[str, str, str, str]] = {
    "total in ms": (TOTALS.sub(_times(1000), SOUND), "error", "missing_total",
                    "the total 82001 s is much more than all epochs together"),
    "total ten times, head cut": (TOTALS.sub(_times(10), CUT), "error", "missing_total",
                                  "for each of the 10 epochs cut off; the others took 4.0"),
    "one rank's total ten times": (SOUND.replace("82.001", "820.01"), "error", "missing_total",
                                   "totals disagree by 90%"),
    "epoch times in ms": (EPOCH_TIMES.sub(_times(1000), SOUND), "error", "missing_total",
                          "is less than the epochs of one rank together"),
    "epoch times of 0": (EPOCH_TIMES.sub(r"\g<1>0.00", SOUND), "error", "missing_total",
                         "a time of 0 s is impossible"),
    "one total gone": (SOUND.replace("82.000000000\n", ""), "error", "rank_count_mismatch",
                       "fewer totals than ranks: 1 total, 2 ranks"),
    "a number at the end": (SOUND + "12.5\n", "error", "missing_total", "totals disagree"),
    "all accuracies above 1": (SOUND.replace("Accuracy: 0", "Accuracy: 1"), "error", "nan_loss",
                               "40 accuracy values impossible"),
    "a negative loss": (SOUND.replace("Loss: 1.9", "Loss: -1.9"), "warning", "nan_loss",
                        "loss is -1.9"),
    "a rank renumbered": (SOUND.replace("Rank: 1", "Rank: 7"), "error", "rank_count_mismatch",
                          "ranks 0, 7 seen, none of rank 1"),
    "one line of a rank beyond": (SOUND.replace("Rank: 1", "Rank: 7", 1), "error",
                                  "rank_count_mismatch", "ranks 0-1, 7 seen"),
    "both ranks called 0": (SOUND.replace("Rank: 1", "Rank: 0"), "error",
                            "rank_count_mismatch",
                            "epochs 0-19 printed several times with different values"),
    "epochs from 100": (re.sub(r"Epoch: ", "Epoch: 10", SOUND), "warning", "incomplete_epochs",
                        "its head is cut off: epochs 0-99"),
    "one epoch called as the next": (SOUND.replace("Epoch: 7 ", "Epoch: 8 "), "error",
                                     "incomplete_epochs", "rank 0: epoch 7; rank 1: epoch 7"),
    "the last epoch far away": (SOUND.replace("Epoch: 19", "Epoch: 1900000"), "error",
                                "incomplete_epochs", "1899981 epochs"),
    "fewer devices": (SOUND.replace("GPUs: 2", "GPUs: 1"), "error", "rank_count_mismatch",
                      "its name says 2 and 'available GPUs: 1' says 1"),
    "a number of devices below 0": (SOUND.replace("GPUs: 2", "GPUs: -2"), "error",
                                    "rank_count_mismatch", "'available GPUs: -2' says -2"),
    "ranks from 1": (SOUND.replace("Rank: 1", "Rank: 2").replace("Rank: 0", "Rank: 1"), "warning",
                     "rank_count_mismatch", "none of rank 0 (or ranks count from 1)"),
    "a slow epoch": (re.sub(r"(Epoch: 7 .* Time: )4", r"\g<1>14", SOUND.replace("82.", "92.")),
                     "warning", "foreign_load", "rank 0: epoch 7 took 14.007 s, one takes 4.0"),
    "a fast epoch": (re.sub(r"(Epoch: 7 .* Time: )4", r"\g<1>1", SOUND), "warning",
                     "incomplete_epochs", "rank 0: epoch 7 took 1.007 s, one takes 4.0"),
    "one rank's time of an epoch": (SOUND.replace("Time: 4.017", "Time: 5.217"), "warning",
                                    "missing_total", "epoch 7: rank 0: 4.007 s, rank 1: 5.217 s"),
    "total a third more, head cut": (TOTALS.sub(_times(1.3), CUT), "warning", "missing_total",
                                     "leaves 6.64 s for each of the 10 epochs cut off"),
    "total a fifth more, head cut": (TOTALS.sub(_times(1.15), CUT), "info", "missing_total",
                                     "leaves 5.41 s for each of the 10 epochs cut off"),
    "total a fifth less, head cut": (TOTALS.sub(_times(0.8), CUT), "warning", "missing_total",
                                     "leaves 2.54 s for each of the 10 epochs cut off"),
    "stopped and gone on": (SOUND.replace("Rank: 0 || Epoch: 9 ", KILLED + "Rank: 0 || Epoch: 9 "),
                            "warning", "restarted", "continues after epoch 8 and 'slurmstepd"),
    "stopped after its totals": (SOUND + KILLED, "info", "missing_total",
                                 "after the last epoch 'slurmstepd"),
    "the log twice": (SOUND * 2, "warning", "duplicate_content", "40 epoch lines repeated"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_reported(tmp_path: Path, change: str) -> None:
    text, severity, code, message = CHANGES[change]
    found = read_text(tmp_path, text).findings
    assert [f for f in found if (f.severity, f.code) == (severity, code) and message in f.message]


@pytest.mark.parametrize(
    "total", ["82", "1,082.5", "82,5", "Total time: 1,222.8 s", "82.0000082.0001"]
)
def test_a_number_that_is_not_taken_for_a_total_is_reported(tmp_path: Path, total: str) -> None:
    row = read_text(tmp_path, TOTALS.sub("", SOUND) + f"{total}\n").row
    assert (row.status, row.time_s) == ("incomplete", None)
    assert f"no total in the log; not read: '{total}'" in (row.reason or "")


def test_accuracies_outside_0_to_1_are_left_empty(tmp_path: Path) -> None:
    text = SOUND.replace("Accuracy: 0", "Accuracy: 1")
    assert read_text(tmp_path, text).row.train_accuracy is None


def test_decimal_commas_are_refused_with_the_line(tmp_path: Path) -> None:
    reason = read_text(tmp_path, re.sub(r"(\d)\.(\d)", r"\1,\2", SOUND)).row.reason
    assert reason is not None
    assert "not read: 'Rank: 0 || Epoch: 0 || Loss: 2,000" in reason
    assert "--format FILE" in reason


def test_what_is_no_file_is_no_log_and_hangs_nothing(tmp_path: Path) -> None:
    (tmp_path / "ddp_1gpu_bs32.log").write_text(SOUND)
    (tmp_path / "ddp_2gpu_bs32.log.gz").write_bytes(b"")
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "a.log").symlink_to("b.log")
    (tmp_path / "b.log").symlink_to("a.log")
    (tmp_path / "folder.log" / "up").symlink_to("..")
    found = find_logs([tmp_path], PATTERN)
    assert [path.name for path in found] == ["ddp_1gpu_bs32.log", "ddp_2gpu_bs32.log.gz"]
    sound, empty = (reading.row for reading in read_logs(found, PATTERN))
    assert (sound.time_s, empty.reason) == (82.001, "empty file")
    for name in ("pipe.log", "a.log"):
        with pytest.raises(UserError, match="no such file or folder of logs"):
            find_logs([tmp_path / name])
