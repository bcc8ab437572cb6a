"""The run's total among other times: read right, or not at all."""

from pathlib import Path

import pytest

from tests.logs.maker import finding_codes, read_lines

EPOCHS = [f"Epoch {e}/3, Loss: 0.{10 - e}" for e in (1, 2, 3)]


def read_total(folder: Path, *lines: str) -> float | None:
    return read_lines(folder, [*EPOCHS, *lines], "ddp_1gpu_bs32.log").row.time_s


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("Total training time: 91.2 s", 91.2),
        ("Total training time: 0:06:14 (0:00:01 on hooks)", 374),
        ("Total elapsed time: 69.03 seconds,      Train 1 epoch 13.08 seconds", 69.03),
        ("Total training time on 4 GPUs: 91.2 s", 91.2),
        ("Total training time for 3 epochs: 91.2 s", 91.2),
        ("Total time: 91.2s for 20 epochs", 91.2),
        ("Total time: 91.2 s | 4 GPUs", 91.2),
        ("Total time: 91.2 s, average epoch 4.5 s", 91.2),
        ("Training time on 2 nodes (8 GPUs): 91.2 s", None),
        ("Time for loading data and training: 19.06 seconds", 19.06),
        ("Total time spent on training: 91.2 s", 91.2),
        ("Time to train: 91.2 s", 91.2),
        ("Training took 91.2 seconds in total", 91.2),
        ("Training finished! Total time: 91.2 s", 91.2),
        ("It took 91.2 seconds to train the model", 91.2),
        ("Trained 20 epochs in 91.2 s", 91.2),
        ("Training completed in 91.2 seconds (1.52 minutes)", 91.2),
        ("=> Total training time: 91.2 s", 91.2),
        # units in words, hours as fractions, a unit in the head
        ("Training time: 0.5 hours", 1800),
        ("Total training time: 1 hours, 2 minutes and 3 seconds", 3723),
        ("Total training time: 1 hour, 2 minutes, and 3.5 seconds", 3723.5),
        ("Total time (hours): 0.5", 1800),
        ("Total training time [h]: 0.5", 1800),
        ("Total time in minutes: 3.4", 204),
        ("Total time: 1.52 (min)", 91.2),
        ("Total time (ms): 91200", 91.2),
        ("Total time = 00h 01m 31s", 91),
        ("Training time: 1.5 days", 129600),
        ("Elapsed time: 0 days 00:01:31.2", 91.2),
        ("Wall time: 1min 31s", 91),
        ('{"epochs": 3, "training_time_s": 91.2, "world_size": 4}', 91.2),
        # the shells' and GNU time's
        ("real 91.20", 91.2),
        ("63.10user 5.02system 1:31.20elapsed 74%CPU (0avgtext+0avgdata 5120maxresident)k", 91.2),
        ("python train.py  63.10s user 5.02s system 74% cpu 1:31.20 total", 91.2),
    ],
)
def test_a_total_with_words_around_it(tmp_path: Path, line: str, seconds: float | None) -> None:
    assert read_total(tmp_path, line) == (seconds and pytest.approx(seconds))


@pytest.mark.parametrize(
    "line",
    [
        "Total training time: 91,2 s", "Total training time: 1,234.5 s",
        "Total training time: 1'234.5 s", "Total time: ~91 s", "Total time: 01:31",
        "Training time (HH:MM:SS): 00:01:31", "Training time: 91.2 ± 0.3 s",
        "Total time per epoch: 4.5 s", "Average training time: 4.5 s",
        "Total time for epoch 3: 4.5 s", "Total training time: 91.2 s for epoch 3",
        "Training time: 4.5 s/epoch", "Training time: 4.5 s per epoch",
        "Total time: 4.4 s (per epoch)", "Total time: 4.4 s, epoch 3",
        "Total time: 4.4 s (epoch 3)",
        "Test: Total time: 0:00:24 (0.1850 s / it)", "Validation done. Total time: 3 s",
        "Epoch: [2] Total time: 0:11:32 (0.5531 s / it)", "Estimated total time: 91 s",
        "Total inference time: 3.2 s", "Data loading time: 3 s", "Training step time: 0.2 s",
        "Training epoch took 4.5 s", "Training took 20 epochs", "trained for 20 epochs",
        '{"epoch": 3, "train_time": 4.2}', '{"step": 3, "total_time": 4.2}',
    ],
)  # fmt: skip
def test_another_time_is_no_total(tmp_path: Path, line: str) -> None:
    assert read_total(tmp_path, line) is None


@pytest.mark.parametrize(
    "line",
    ["Total training time: 1,234.5 s", "Time: 91.2", "Finished in 91.2s", "END OF TRAINING: 91 s"],
)
def test_what_may_be_the_total_is_repeated(tmp_path: Path, line: str) -> None:
    row = read_lines(tmp_path, [*EPOCHS, line, "bye"], "ddp_1gpu_bs32.log").row
    assert f"not read: '{line}'" in (row.reason or "")


TIMED = [f"Epoch {e}/3, Loss: 0.{10 - e}, Time: {e}.5s" for e in (1, 2, 3)]


def test_the_sum_of_all_epochs_is_a_total_and_marked(tmp_path: Path) -> None:
    reading = read_lines(tmp_path, TIMED, "ddp_1gpu_bs32.log")
    assert (reading.row.table, reading.row.time_s, reading.row.epochs_done) == ("training", 7.5, 3)
    (finding,) = (each for each in reading.findings if each.code == "missing_total")
    assert finding.severity == "info"
    assert "7.5 s is the sum of its epochs' times" in finding.message


@pytest.mark.parametrize(
    "lines",
    [
        TIMED[:-1],  # not the last epoch
        TIMED[1:],  # not the first
        [TIMED[0], EPOCHS[1], TIMED[2]],  # one without a time
        [line.replace("/3", "") for line in TIMED],  # nobody says how many there were
        [*TIMED, "ValueError: disk full"],  # it failed
        [*TIMED, "Total training time: 1,234.5 s"],  # there is another, which is not read
    ],
)
def test_the_sum_of_some_epochs_is_no_total(tmp_path: Path, lines: list[str]) -> None:
    row = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log").row
    assert (row.table, row.time_s) == (None, None)


def test_times_that_may_count_from_the_start_are_not_added_up(tmp_path: Path) -> None:
    lines = [f"Epoch {e}/3, Loss: 0.{10 - e}, Elapsed: {30 * e}.1s" for e in (1, 2, 3)]
    row = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log").row
    assert (row.table, row.time_s) == (None, None)
    assert "its epochs' times may each count from the start" in (row.reason or "")


KILLED = "slurmstepd: error: *** JOB 41 ON n1 CANCELLED AT 2023-05-01T12:00 DUE TO PREEMPTION ***"


def test_a_total_after_a_requeue_is_not_taken_for_all_epochs(tmp_path: Path) -> None:
    lines = [*EPOCHS[:2], KILLED, EPOCHS[2], "Total time: 30 s"]
    row = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log").row
    assert row.table is None
    assert "its total lacks what was before 'slurmstepd: error" in (row.reason or "")


def test_a_total_of_both_parts_is_known_by_the_epochs(tmp_path: Path) -> None:
    lines = [*TIMED[:2], KILLED, TIMED[2]]
    whole = read_lines(tmp_path, [*lines, "Total time: 8 s"], "ddp_1gpu_bs32.log")
    assert (whole.row.table, whole.row.time_s) == ("training", 8.0)
    part = read_lines(tmp_path, [*lines, "Total time: 4 s"], "ddp_1gpu_bs32.log")
    assert part.row.table is None
    assert "restarted" in finding_codes(part)


@pytest.mark.parametrize(
    "line",
    [
        "Resuming from epoch 2", "Resuming training from checkpoint_2.pt at epoch 2",
        "=> loaded checkpoint 'checkpoint.pth.tar' (epoch 2)", "Starting from epoch 2",
        "Restored checkpoint, continuing from epoch 2",
    ],
)  # fmt: skip
def test_a_total_after_a_checkpoint_is_of_the_last_part(tmp_path: Path, line: str) -> None:
    for earlier in ([], EPOCHS[:2]):
        lines = [*earlier, line, EPOCHS[2], "Total time: 30 s"]
        row = read_lines(tmp_path, lines, "ddp_1gpu_bs32.log").row
        assert row.table is None
        assert f"its total lacks what was before '{line}', after epoch 2" in (row.reason or "")


def test_a_total_without_time_for_the_epochs_before_the_first(tmp_path: Path) -> None:
    lines = [f"Epoch {e}/9, Loss: 0.{10 - e}, Time: 9.5s" for e in range(5, 10)]
    part = read_lines(tmp_path, [*lines, "Total time: 48 s"], "ddp_1gpu_bs32.log").row
    assert part.table is None
    assert part.reason == "its total leaves no time for what was before epoch 5"
    whole = read_lines(tmp_path, [*lines, "Total time: 90 s"], "ddp_1gpu_bs32.log").row
    assert (whole.table, whole.epochs_done) == ("training", 9)


def test_an_epoch_that_a_restart_printed_again_is_no_other_rank(tmp_path: Path) -> None:
    lines = [*EPOCHS[:2], "Resuming from checkpoint at epoch 2", "Epoch 2/3, Loss: 0.1", EPOCHS[2]]
    reading = read_lines(tmp_path, [*lines, "Total time: 30 s"], "ddp_1gpu_bs32.log")
    assert reading.row.train_loss is not None
    assert "restarted" in finding_codes(reading)
    assert "rank_count_mismatch" not in finding_codes(reading)


@pytest.mark.parametrize(
    "line", ["  Continuing training from epoch 2", "  Continuing training from global step 500"]
)
def test_a_total_after_a_checkpoint_without_lines_of_epochs(tmp_path: Path, line: str) -> None:
    total = "{'train_runtime': 70.34, 'train_loss': 0.2123, 'epoch': 3.0}"
    row = read_lines(tmp_path, ["  Num Epochs = 3", line, total], "ddp_1gpu_bs32.log").row
    assert (row.table, row.epochs_done) == (None, 3)
    assert "lack" in (row.reason or "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["Starting training from epoch 0"], []),
        (["Start epoch 1"], []),
        ([], ["Restoring model weights from the end of the best epoch: 2."]),
        ([], ["=> loaded checkpoint 'last.pt' (epoch 2)"]),
    ],
)
def test_what_is_no_restart(tmp_path: Path, before: list[str], after: list[str]) -> None:
    lines = [*before, *EPOCHS, *after, "Total time: 30 s"]
    assert read_lines(tmp_path, lines, "ddp_1gpu_bs32.log").row.table == "training"


def clocks(*times: str) -> list[str]:
    return [f"Epoch {e}/{len(times)}, Loss: 0.5, Time: {t}" for e, t in enumerate(times, 1)]


@pytest.mark.parametrize(
    ("times", "total"),
    [
        (["12:00:10", "12:00:50", "12:01:30"], None),
        (["23:40:20", "00:25:30", "01:10:45"], None),  # past midnight
        (["02:30:01", "03:30:02", "04:30:03", "05:30:04"], None),
        (["12:00:10"], None),
        (["0:12:05", "0:12:10", "0:12:20"], 2195.0),  # no clock shows hours so
        (["00:12:05", "00:12:10", "00:12:02"], 2177.0),
        (["00:10:01", "00:20:02", "00:30:03", "00:40:04"], 2404.0),  # from the run's start
    ],
)
def test_times_of_day_are_no_durations(
    tmp_path: Path, times: list[str], total: float | None
) -> None:
    row = read_lines(tmp_path, clocks(*times), "ddp_1gpu_bs32.log").row
    assert row.time_s == total
    if total is None:
        assert f"times may be times of day; its last values: '{clocks(*times)[-1]}'" in str(
            row.reason
        )


def test_totals_beside_times_of_day(tmp_path: Path) -> None:
    lines = clocks("12:00:10", "12:00:50", "12:01:30")
    row = read_lines(tmp_path, [*lines, "Total time: 120 s"], "ddp_1gpu_bs32.log").row
    assert (row.table, row.time_s) == ("training", 120.0)
    row = read_lines(tmp_path, [*lines, "Total time: 12:01:31"], "ddp_1gpu_bs32.log").row
    assert (row.table, row.reason) == (
        None,
        "its total may be a time of day, as its epochs' times are",
    )


@pytest.mark.parametrize(
    ("note", "total"),
    [
        ("Job Wall-clock time: 00:01:15", 75.0),
        ("   Walltime requested: 01:00:00            Walltime Used: 00:01:15", 75.0),
        ("ru_wallclock 75.5s", 75.5),
        ("exit_status  0\nru_wallclock 75.5s", 75.5),
        ("real\t1m31,200s", 91.2),  # where numbers have decimal commas
        ("Resource_List.walltime=01:00:00", None),
        ("Took 12.5 s", None),  # the images' loading, say
        ("Training time: 14:06:00 - 14:00:00", None),
    ],
)
def test_times_of_the_job(tmp_path: Path, note: str, total: float | None) -> None:
    assert read_lines(tmp_path, [*EPOCHS, note], "ddp_1gpu_bs32.log").row.time_s == total


@pytest.mark.parametrize(
    "ends",
    [
        ["Subject: Job 41: <train> in cluster <c> Exited", "    Run time :             75 sec."],
        ["Exit Status:        1", "Walltime Used: 00:01:15"],
        ["exit_status  137        (Killed)", "ru_wallclock 75s"],
    ],
)
def test_the_time_of_a_job_that_failed(tmp_path: Path, ends: list[str]) -> None:
    row = read_lines(tmp_path, [*EPOCHS, *ends], "ddp_1gpu_bs32.log").row
    assert (row.table, row.status, row.time_s) == (None, "failed", None)
    assert row.reason == f"no total in the log: {' '.join(ends[0].split())}"


def test_two_runs_whose_epochs_print_the_same(tmp_path: Path) -> None:
    once = [*EPOCHS, "Total time: 30 s"]
    copied = read_lines(tmp_path, [*once, *once], "ddp_2gpu_bs32.log").row
    assert copied.table == "training"
    again = read_lines(tmp_path, [*once, *EPOCHS, "Total time: 28 s"], "ddp_2gpu_bs32.log").row
    assert again.reason == "two runs in one file: which total is the run's is ambiguous"
