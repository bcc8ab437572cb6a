"""Files in any shape: encodings, line ends, junk, sizes."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from tests.logs.maker import PATTERN, epoch_line, finding_codes, log_lines, read_text
from weather_hpc.logs import compression, find_logs, read_logs, tally

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


def _zip(*members: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, TEXT)
    return packed.getvalue()


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("ddp_2gpu_bs32.log")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT.encode()))
    return packed.getvalue()


PACKED = {
    "gz": gzip.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "bz2": bz2.compress(TEXT.encode()),
    "zst": zstd.compress(TEXT.encode()),
    "zip": _zip("ddp_2gpu_bs32.log"),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed(tmp_path: Path, suffix: str) -> None:
    packed, name = PACKED[suffix], f"ddp_2gpu_bs32.log.{suffix}"
    reading = read_text(tmp_path, packed, name)
    assert (reading.row.run_id, reading.row.time_s) == ("ddp_2gpu_bs32", 82.001)
    assert find_logs([tmp_path]) == [tmp_path / name]
    assert read_text(tmp_path, packed).row.time_s == 82.001  # by content, whatever its name
    for broken in (packed[:-30], packed[:50] + b"?" + packed[51:], packed[:5]):
        row = read_text(tmp_path, broken, name).row
        assert (row.table, row.status) == (None, "failed")
        assert (row.reason or "").startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x04\x22\x4d\x18rest", "compressed with lz4: decompress it with `lz4 -d`"),
        (b"\x1f\x9d\x90rest", "compressed with compress: decompress it with `gunzip`"),
        (b"7z\xbc\xaf\x27\x1crest", "compressed with 7z: decompress it with `7z x`"),
        (_zip("a.log", "b.log"), "a zip archive of 2 files: unpack it with `unzip`"),
        (_tar(), "a tar archive: unpack it with `tar xf`"),
        (gzip.compress(_tar()), "a tar archive: unpack it with `tar xf`"),
        (b"no gzip", "its compressed data are damaged"),
    ],
    ids=["lz4", "Z", "7z", "zip", "tar", "tar.gz", "gz"],
)
def test_what_is_not_unpacked_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    name = "ddp_2gpu_bs32.log.gz" if data == b"no gzip" else "ddp_2gpu_bs32.log"
    row = read_text(tmp_path, data, name).row
    assert (row.reason or "").startswith(f"cannot be read: {message}")


def test_without_a_module_for_zstd_its_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "_ZSTD", None)
    reason = read_text(tmp_path, PACKED["zst"], "ddp_2gpu_bs32.log.zst").row.reason
    assert reason == "cannot be read: compressed with zstd: decompress it with `zstd -d`"


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
