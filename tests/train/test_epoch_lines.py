"""The line per epoch: for people, and no trouble for who reads logs."""

import contextlib
import io
from pathlib import Path

import pytest

from tests.train.conftest import Train, events
from weather_hpc import cli
from weather_hpc.dataset.left_out import left_out
from weather_hpc.logs.reader import read_logs
from weather_hpc.runs.error_line import error_line
from weather_hpc.runs.row import Reading
from weather_hpc.train.__main__ import main
from weather_hpc.train.epoch_lines import EpochLines, clock, line
from weather_hpc.train.evaluation import Score


def test_a_line_is_aligned_and_fits_a_terminal() -> None:
    train, test = Score(1.53, 0.52, 100), Score(1.6, 0.5131, 10)
    early = line(3, 20, train, None, 1234.5, 3723.4)
    late = line(20, 20, train, test, 34.56, 0.0)
    assert early == "epoch  3/20  loss 1.5300  accuracy 0.520    1234 images/s  ETA 1:02:03"
    assert late == "epoch 20/20  loss 1.5300  accuracy 0.520    34.6 images/s  ETA 0:00  test 0.513"
    assert early.index("ETA") == late.index("ETA")
    assert len(late) <= 80


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (725, "12:05"), (36000, "10:00:00")]
)
def test_time_left(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("epochs", "done", "printed"),
    [(5, 0, 5), (100, 40, 60), (10_000, 0, 101), (10_000, 9_900, 2)],
)
def test_thousands_of_epochs_have_a_hundred_lines(
    epochs: int, done: int, printed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = EpochLines(epochs, done)
    for epoch in range(done + 1, epochs + 1):
        lines.add(epoch, Score(1.0, 0.5, 10), None, 10, 0.1)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == printed
    assert said[0].startswith(f"epoch {done + 1:>{len(str(epochs))}}/{epochs} ")
    assert said[-1].startswith(f"epoch {epochs}/{epochs} ")


def test_a_slow_epoch_has_a_line_in_any_case(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines = EpochLines(10_000, 0)
    for epoch in range(1, 5):
        now += 40.0
        lines.add(epoch, Score(1.0, 0.5, 10), None, 10, 40.0)
    said = capsys.readouterr().err.splitlines()
    assert [text.split()[1] for text in said] == ["1/10000", "3/10000"]
    assert "ETA 111:04:40" in said[-1]


def test_training_tells_each_epoch_and_the_log_is_read_as_without(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where stdout and stderr go to one file."""
    options = ["--store", str(small_store), "--model", "tiny", "--epochs", "4"]
    argv = [*options, "--evaluate-every", "2", "--run-dir", str(tmp_path / "run")]
    both = io.StringIO()
    with contextlib.redirect_stdout(both), contextlib.redirect_stderr(both):
        assert cli.guarded("train", main, argv) == 0
    lines = both.getvalue().splitlines()
    told = [text for text in lines if text.startswith("epoch ")]
    for text, event in zip(told, events(tmp_path / "run", "epoch"), strict=True):
        start = (
            f"epoch {event['epoch']}/4  loss {event['loss']:.4f}  accuracy {event['accuracy']:.3f}"
        )
        assert text.startswith(f"{start}  ")
        assert ("test " in text) is (event["epoch"] % 2 == 0)
    readings: list[Reading] = []
    for kept in (lines, [text for text in lines if text not in told]):
        (tmp_path / "run.log").write_text("\n".join(kept) + "\n")
        readings += read_logs([tmp_path / "run.log"])
    assert readings[0] == readings[1]
    assert readings[0].row.status == "ok"

    train(*options, "-q", run_dir=tmp_path / "quiet")
    assert capsys.readouterr().err == ""


def test_a_killed_run_is_not_explained_by_its_progress() -> None:
    epoch = line(3, 20, Score(1.0, 0.5, 10), None, 10.0, 5.0)
    assert error_line(f"train: --held-apart 0.1: too few\n{epoch}\n") == (
        "train: --held-apart 0.1: too few"
    )
    warning = f"train: store: {left_out(1, [], {'a.jpg': 'empty file', 'b.jpg': 'empty file'})}"
    assert " are left out: " in warning
    assert error_line(f"loading\n{warning}\n{epoch}\n") == "loading"
