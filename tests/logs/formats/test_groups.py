"""Groups of a format by which named programs are read, in a format of one's own."""

from pathlib import Path

from weather_hpc.logs import formats, read_logs
from weather_hpc.runs.row import Row

FORMAT = r"""
lines:
  - 'pass (?P<epoch>\d+) at (?P<progress>)'
  - '(?P<epoch_end>held) out (?P<test_accuracy>)'
  - 'bar (?P<current_epoch>\d+) (?P<progress>) in (?P<time_s>\d+) loss (?P<loss>)'
  - 'batch (?P<step_from_0>) of (?P<steps>)'
  - '(?P<ignored>loss of batch) '
  - 'of (?P<world_size>)$'
  - 'all of (?P<total_s>)$'
"""


def _row(folder: Path, log: str, more: str = "") -> Row:
    (folder / "mine.yaml").write_text(FORMAT + more)
    (folder / "a.log").write_text(log)
    (reading,) = read_logs([folder / "a.log"], known=formats([str(folder / "mine.yaml")]))
    return reading.row


def test_a_line_that_ends_an_epoch(tmp_path: Path) -> None:
    log = "of 1\npass 0 at 50/100\npass 1 at 50/100\n"
    assert _row(tmp_path, log).epochs_done == 1
    row = _row(tmp_path, log + "held out 45.1%\n")
    assert (row.epochs_done, row.test_accuracy) == (2, 0.451)


def test_a_bar_that_names_its_epoch(tmp_path: Path) -> None:
    log = "of 1\nbar 0 50/100 in 4 loss 9\nbar 0 100/100 in 8 loss 7\nbar 0 100/100 in 9 loss 0.7\n"
    log += "bar 1 50/100 in 4 loss 0.6\n"
    row = _row(tmp_path, log)
    assert (row.epochs_done, row.train_loss) == (1, 0.7)
    row = _row(tmp_path, log + "bar 1 100/100 in 8 loss 0.5\nall of 17.5\n")
    assert (row.epochs_done, row.train_loss, row.table) == (2, 0.5, "training")


def test_steps_from_0_and_lines_of_no_use(tmp_path: Path) -> None:
    log = "of 1\nbatch 9 of 100\nloss of batch 9: 0.5\nbatch 99 of 100\n"
    row = _row(tmp_path, log)
    assert row.steps == 100
    assert str(row.reason).endswith("its last values: 'batch 99 of 100'")


def test_rank_0_alone_prints(tmp_path: Path) -> None:
    log = "1: of 4\n0: of 4\n0: bar 0 50/100 in 4 loss 0.9\n"
    log += "bar 0 100/100 in 8 loss 0.7\n0: all of 8.5\n"  # after a carriage return
    assert _row(tmp_path, log, "only_first_rank: false\n").world_size_actual == 2
    row = _row(tmp_path, log, "only_first_rank: true\n")
    assert (row.world_size_actual, row.workers, row.table) == (None, 4, "training")
