"""Mutated logs: no crash, one reading each, no number from nowhere, no change unnoticed."""

import dataclasses
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.logs.maker import PATTERN, log_lines, read_lines, read_text
from tests.logs.test_log_styles import STYLES
from weather_hpc.logs import read_logs
from weather_hpc.runs.row import Reading

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = log_lines(ranks=2, epochs=6)
TEXT = "\n".join(LINES) + "\n"
NUMBER = re.compile(rb"\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
FROM_NAME = {"workers", "batch_size_per_device", "batch_size_global"}


def _check(reading: Reading, data: bytes) -> None:
    """What must hold of the reading of any bytes."""
    row = reading.row
    assert (row.table is None) == (row.reason is not None)
    assert all(f.source == row.run_id and "\n" not in f.message for f in reading.findings)
    if row.time_s is not None:
        printed = {float(number) for number in NUMBER.findall(data)}
        assert row.time_s in printed
        assert row.time_s > 0
    reported = {
        name for name, value in dataclasses.asdict(row).items() if isinstance(value, int | float)
    }
    derived = {
        "time_s",
        "epochs_done",
        "world_size_actual",
        "train_loss",
        "train_accuracy",
        "images",
    }
    assert reported <= FROM_NAME | derived
    if row.table is not None:
        assert row.time_s is not None


@SETTINGS
@given(data=st.binary(max_size=3000))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    _check(read_text(tmp_path, data), data)


@SETTINGS
@given(
    cut=st.integers(0, len(TEXT)),
    flips=st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(0, 255)), max_size=6),
)
def test_cut_anywhere_and_bytes_flipped(
    tmp_path: Path, cut: int, flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray(TEXT.encode())
    for place, byte in flips:
        damaged[place] = byte
    data = bytes(damaged[:cut])
    _check(read_text(tmp_path, data), data)


@SETTINGS
@given(
    styles=st.lists(st.sampled_from(sorted(STYLES)), min_size=1, max_size=2),
    data=st.data(),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
)
def test_other_peoples_logs_damaged(
    tmp_path: Path, styles: list[str], data: st.DataObject, flips: list[tuple[float, int]]
) -> None:
    lines = [line for style in styles for line in STYLES[style]]
    kept = data.draw(st.lists(st.sampled_from(lines), max_size=len(lines)))
    damaged = bytearray("\n".join(kept).encode())
    for where, byte in flips:
        if damaged:
            damaged[int(len(damaged) * where)] = byte
    reading = read_text(tmp_path, bytes(damaged), "ddp_1gpu_bs32.log")
    row = reading.row
    assert (row.table is None) == (row.reason is not None)
    assert row.table is None or (row.time_s or 0) > 0
    assert all("\n" not in finding.message for finding in reading.findings)


@SETTINGS
@given(cut=st.integers(0, len(TEXT) - 2))
def test_whatever_is_cut_off_the_end_is_reported(tmp_path: Path, cut: int) -> None:
    reading = read_text(tmp_path, TEXT[:cut])
    whole = read_text(tmp_path, TEXT)
    unnoticed = reading.row.table is not None and len(reading.findings) == len(whole.findings)
    # a cut within the last line end changes nothing
    assert not unnoticed or reading.row == whole.row


@SETTINGS
@given(dropped=st.sets(st.integers(0, len(LINES) - 1), min_size=1))
def test_a_dropped_line_is_reported_or_changes_nothing(tmp_path: Path, dropped: set[int]) -> None:
    kept = [line for number, line in enumerate(LINES) if number not in dropped]
    whole, reading = read_lines(tmp_path, LINES), read_lines(tmp_path, kept)
    _check(reading, "\n".join(kept).encode())
    unnoticed = reading.row.table is not None and len(reading.findings) == len(whole.findings)
    assert not unnoticed or reading.row == whole.row


@SETTINGS
@given(order=st.permutations(range(len(LINES))))
def test_the_order_of_lines_changes_nothing(tmp_path: Path, order: list[int]) -> None:
    whole = read_lines(tmp_path, LINES)
    shuffled = read_lines(tmp_path, [LINES[number] for number in order])
    assert (shuffled.row, shuffled.content) == (whole.row, whole.content)


@SETTINGS
@given(line=st.integers(0, len(LINES) - 1), times=st.integers(1, 3))
def test_a_line_printed_again_is_reported_or_changes_nothing(
    tmp_path: Path, line: int, times: int
) -> None:
    whole = read_lines(tmp_path, LINES)
    again = read_lines(tmp_path, LINES + LINES[line : line + 1] * times)
    assert again.row == whole.row
    if "Epoch" in LINES[line] or "." in LINES[line]:
        assert len(again.findings) > len(whole.findings)


@SETTINGS
@given(
    place=st.integers(0, len(NUMBER.findall(TEXT.encode())) - 1),
    value=st.sampled_from(["0", "7", "99999", "1e400", "nan", "0.5", "12345678901234567890"]),
)
def test_a_changed_number_never_comes_from_nowhere(tmp_path: Path, place: int, value: str) -> None:
    match = list(NUMBER.finditer(TEXT.encode()))[place]
    data = (TEXT[: match.start()] + value + TEXT[match.end() :]).encode()
    _check(read_text(tmp_path, data), data)


@SETTINGS
@given(texts=st.lists(st.sampled_from(["", "x", TEXT, TEXT[:300], TEXT * 2, "1.5\n"]), max_size=6))
def test_every_file_is_one_reading(tmp_path: Path, texts: list[str]) -> None:
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"ddp_2gpu_bs{number + 1}.log")
        files[-1].write_text(text)
    rows = [reading.row for reading in read_logs(files, PATTERN)]
    assert [row.source for row in rows] == [str(file) for file in files]
