"""Files in any shape: encodings, line ends, junk, sizes."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from tests.logs.maker import PATTERN, epoch_line, finding_codes, log_lines, read_text
from weather_hpc.logs import read_logs, tally

TEXT = "\n".join(log_lines()) + "\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-8-sig"),
        gzip.compress(TEXT.encode()),
        b"\0" * 10_000 + TEXT.encode(),
        b"\xff\xfe\xfd\x80" + b"\n" + TEXT.encode(),
        b"x" * 3_000_000 + b"\n" + TEXT.encode(),
        b"50%|###  |\r" * 200_000 + TEXT.encode(),
    ],
    ids=[
        "crlf",
        "cr",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "bom",
        "gzip",
        "nul",
        "not-utf-8",
        "long-line",
        "progress",
    ],
)
def test_figures_are_the_same_however_they_are_stored(tmp_path: Path, data: bytes) -> None:
    if data[:4] == b"\xff\xfe\xfd\x80":
        data = b"a" + data  # else it would be the mark of UTF-16
    plain, reading = read_text(tmp_path, TEXT), read_text(tmp_path, data)
    assert (reading.row, reading.content, finding_codes(reading)) == (
        plain.row,
        plain.content,
        set(),
    )


def test_compressed(tmp_path: Path) -> None:
    packed = gzip.compress(TEXT.encode())
    assert read_text(tmp_path, packed, "ddp_2gpu_bs32.log.gz").row.time_s == 82.001
    for broken in (packed[:-20], b"no gzip", packed[:50] + b"?" + packed[51:]):
        row = read_text(tmp_path, broken, "ddp_2gpu_bs32.log.gz").row
        assert row.reason is not None
        assert row.reason.startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"hello\nworld\n", "no line with an epoch or a total in"),
        (bytes(range(256)) * 50, "looks like binary data"),
        (b"91.97\n", "a total but no epoch"),
        (
            b"a.sh: line 3: 77 Killed  python a.py\n",
            "no values were printed, and: a.sh: line 3: 77 Killed",
        ),
        (b"ModuleNotFoundError: No module named 'torch'\n", "No module named 'torch'"),
    ],
    ids=["empty", "prose", "binary", "total-only", "killed", "traceback"],
)
def test_what_holds_no_run_is_a_reject_that_says_so(
    tmp_path: Path, data: bytes, message: str
) -> None:
    reading = read_text(tmp_path, data)
    assert reading.row.table is None
    assert message in (reading.row.reason or "")
    assert ("missing_total" in finding_codes(reading)) == (reading.row.time_s is None)


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST_EPOCHS", 1000)
    monkeypatch.setattr("weather_hpc.logs.lines.BLOCK", 20_000)
    file = tmp_path / "ddp_1gpu_bs32.log"
    lines = (epoch_line(0, e, loss=1.5, accuracy=0.5, time="4.0") for e in range(20_000))
    file.write_text("\n".join([*lines, "80001.25"]) + "\n")
    tracemalloc.start()
    try:
        (reading,) = read_logs([file], PATTERN)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert finding_codes(reading) == set()
    assert (reading.row.epochs_done, reading.row.time_s) == (20_000, 80001.25)
    assert peak < 1.5e6  # the file itself has 1.3 MB, its values as objects 6 MB
