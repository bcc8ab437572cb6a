"""telemetry.csv is read back as it was written, whatever state a killed run left it in."""

import time
from pathlib import Path

import pytest

from weather_hpc.runs.telemetry import Sample, Telemetry
from weather_hpc.runs.telemetry_file import read_telemetry

HEAD = (
    "at,host_cpu_percent,host_memory_mb,foreign_cpu_percent,device_use_percent,device_memory_mb,"
    "device_power_w\n"
)
WHOLE = "2.0,150,4000,20,,,\n"


def test_what_telemetry_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    with Telemetry(path=path, every_s=0.02) as telemetry:
        time.sleep(0.07)
    read = read_telemetry(path)
    assert len(read) == len(telemetry.samples) >= 2
    for found, sample in zip(read, telemetry.samples, strict=True):
        assert vars(found) == pytest.approx(vars(sample), abs=0.001)


@pytest.mark.parametrize(
    "torn",
    [
        "1.0,15",  # a killed run's last line
        "1.0,15" + "1.5,100,4000,0,,,\n",  # which a resumed run went on with
        '1.0,"150,4000,20,,,\n',  # an open quote
        "1.0,nan,4000,20,,,\n",
        "1.0,inf,4000,20,,,\n",
        "1.0,-5,4000,20,,,\n",
        "1.0,,4000,20,,,\n",
        "1.0,1e400,4000,20,,,\n",
        "1.0,150,4000,20,x,,\n",
        "\0\0\0\n",
        "\n",
    ],
)
def test_a_torn_line_is_left_out(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "telemetry.csv"
    end = "" if torn.endswith("\n") else "\n"
    path.write_text(HEAD + torn + end + WHOLE)
    assert read_telemetry(path) == (Sample(2.0, 150.0, 4000.0, 20.0),)


def test_samples_are_in_order_and_columns_in_any(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    path.write_text(
        "foreign_cpu_percent,at,host_memory_mb,host_cpu_percent,new\n0,5,10,100,x\n0,3,10,90,y\n"
    )
    assert [(s.at, s.host_cpu_percent) for s in read_telemetry(path)] == [(3, 90), (5, 100)]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"a,b\n1,2\n", HEAD.encode()])
def test_no_samples(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "telemetry.csv"
    if content is not None:
        path.write_bytes(content)
    assert read_telemetry(path) == ()
    assert read_telemetry(tmp_path) == ()
