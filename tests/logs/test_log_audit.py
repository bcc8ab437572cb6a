"""Each thing that can be wrong in a log is found, and a sound log has no finding."""

from pathlib import Path

import pytest

from tests.logs.maker import epoch_line, finding_codes, log_lines, read_lines, read_text
from weather_hpc.logs import audit_across_logs


def test_a_sound_log(tmp_path: Path) -> None:
    reading = read_lines(tmp_path, log_lines())
    assert finding_codes(reading) == set()
    assert (reading.row.table, reading.row.time_s, reading.row.epochs_done) == (
        "training", 82.001, 20,
    )  # fmt: skip


def test_ranks_that_differ_from_the_name(tmp_path: Path) -> None:
    reading = read_lines(tmp_path, log_lines(ranks=2), "ddp_4gpu_bs32.log")
    assert finding_codes(reading) == {"rank_count_mismatch"}
    assert "ranks 0-1 seen, none of ranks 2-3" in " ".join(f.message for f in reading.findings)


def test_a_rank_without_lines(tmp_path: Path) -> None:
    lines = [line for line in log_lines() if "Rank: 1" not in line]
    assert "rank_count_mismatch" in finding_codes(read_lines(tmp_path, lines))


def test_a_rank_that_stops_early(tmp_path: Path) -> None:
    lines = [line for line in log_lines() if "Rank: 1 || Epoch: 19" not in line]
    reading = read_lines(tmp_path, lines)
    assert finding_codes(reading) == {"incomplete_epochs"}
    assert "rank 1 ends at epoch 18, rank 0 at epoch 19" in reading.findings[0].message


def test_fewer_totals_than_ranks(tmp_path: Path) -> None:
    assert finding_codes(read_lines(tmp_path, log_lines()[:-1])) == {"rank_count_mismatch"}


def test_gap(tmp_path: Path) -> None:
    lines = [line for line in log_lines() if "Rank: 0 || Epoch: 7 " not in line]
    reading = read_lines(tmp_path, lines)
    assert finding_codes(reading) == {"incomplete_epochs"}
    assert "rank 0: epoch 7" in reading.findings[0].message


def test_no_total(tmp_path: Path) -> None:
    reading = read_lines(tmp_path, [line for line in log_lines() if "." not in line or "R" in line])
    assert finding_codes(reading) == {"missing_total"}
    assert (reading.row.table, reading.row.status) == (None, "incomplete")
    assert reading.row.time_s is None


@pytest.mark.parametrize("loss", ["nan", "inf", "NaN"])
def test_nan_loss(tmp_path: Path, loss: str) -> None:
    lines = [*log_lines(epochs=19)[:-4], epoch_line(0, 19, loss=loss), *log_lines()[-5:]]
    reading = read_lines(tmp_path, lines)
    assert "nan_loss" in finding_codes(reading)
    assert reading.row.train_loss is None


def test_totals_that_disagree(tmp_path: Path) -> None:
    reading = read_lines(tmp_path, [*log_lines()[:-1], "85.5"])
    assert "missing_total" in finding_codes(reading)
    assert reading.row.time_s == 85.5


def test_a_total_below_its_epochs(tmp_path: Path) -> None:
    lines = [line.replace("82.0", "42.0") for line in log_lines()]
    reading = read_lines(tmp_path, lines)
    assert "missing_total" in finding_codes(reading)
    assert reading.row.table is None


def test_a_total_far_above_its_epochs(tmp_path: Path) -> None:
    assert "missing_total" in finding_codes(
        read_lines(tmp_path, [line.replace("82.0", "820.0") for line in log_lines()])
    )


def test_a_total_that_does_not_fit_the_cut_epochs(tmp_path: Path) -> None:
    cut = [line.replace("82.0", "182.0") for line in log_lines()[20:]]
    assert "missing_total" in finding_codes(read_lines(tmp_path, cut))


@pytest.mark.parametrize("total", ["102.0", "82.1"])
def test_two_runs_in_one_file(tmp_path: Path, total: str) -> None:
    other = [line.replace("Loss: 1", "Loss: 0").replace("82.0", total)
             for line in log_lines()]  # fmt: skip
    reading = read_lines(tmp_path, log_lines() + other)
    assert {"restarted", "rank_count_mismatch"} <= finding_codes(reading)
    assert reading.row.reason is not None
    assert "two runs in one file" in reading.row.reason


def test_lines_printed_twice(tmp_path: Path) -> None:
    assert finding_codes(read_lines(tmp_path, log_lines()[:4] + log_lines())) == {
        "duplicate_content"
    }


def test_torn_lines_are_counted_and_not_used(tmp_path: Path) -> None:
    lines = log_lines()
    lines[4:6] = ["Rank: " + lines[4], lines[5][6:]]
    reading = read_lines(tmp_path, lines)
    messages = " ".join(finding.message for finding in reading.findings)
    assert "2 lines torn" in messages
    assert "epoch 2" in messages


@pytest.mark.parametrize("values", [{"accuracy": 1.54}, {"accuracy": -0.1}])
def test_impossible_accuracy(tmp_path: Path, values: dict[str, float]) -> None:
    lines = [epoch_line(0, 0, **values), *log_lines()[1:]]
    assert finding_codes(read_lines(tmp_path, lines)) == {"nan_loss"}


def test_impossible_time(tmp_path: Path) -> None:
    lines = [epoch_line(0, 0, time="-4.4"), *log_lines()[1:]]
    assert "missing_total" in finding_codes(read_lines(tmp_path, lines))


def test_a_copy_has_the_same_content_however_it_is_disguised(tmp_path: Path) -> None:
    original = read_lines(tmp_path, log_lines())
    tabs = [line.replace(" || ", "\t") for line in log_lines()]
    reordered = tabs[1:2] + tabs[:1] + tabs[2:]
    edited = [line.replace("82.0", "83.0") for line in log_lines()[22:]]
    assert original.content is not None
    assert read_lines(tmp_path, reordered).content == original.content
    assert read_lines(tmp_path, edited).content == original.content
    other = [line.replace("Time: 4", "Time: 5") for line in log_lines()]
    assert read_lines(tmp_path, other).content != original.content


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("slurmstepd: error: *** JOB 77 ON n1 CANCELLED AT 2023-05-01 DUE TO TIME LIMIT ***",
         "timeout"),
        ("slurmstepd: error: *** JOB 77 ON n1 CANCELLED AT 2023-05-01 ***", "cancelled"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=77.0", "out_of_memory"),
        ("[rank1]: torch.cuda.OutOfMemoryError: CUDA out of memory.", "out_of_memory"),
        ("Traceback (most recent call last):\n  File \"a.py\"\nValueError: no", "failed"),
    ],
)  # fmt: skip
def test_how_a_run_without_a_total_ended(tmp_path: Path, line: str, status: str) -> None:
    reading = read_lines(tmp_path, [*log_lines()[:10], line])
    assert (reading.row.status, reading.row.table) == (status, None)
    assert reading.row.reason is not None
    assert line.split("\n")[-1].removeprefix("[rank1]: ") in reading.row.reason


def test_a_log_that_ends_before_the_other_logs(tmp_path: Path) -> None:
    rows = [
        read_lines(tmp_path, log_lines(epochs=epochs), f"ddp_2gpu_bs{epochs}{i}.log").row
        for i, epochs in enumerate((20, 20, 12))
    ]
    (finding,) = audit_across_logs(rows)
    assert finding.source == "ddp_2gpu_bs122"
    assert "after 12 epochs" in finding.message


def test_a_log_cut_inside_its_total(tmp_path: Path) -> None:
    text = "\n".join(log_lines())
    assert "missing_total" in finding_codes(read_text(tmp_path, text[:-4]))
