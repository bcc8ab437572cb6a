"""``bench collect`` as a user runs it, and its check of the values that were read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from weather_hpc.bench.__main__ import main
from weather_hpc.bench.collect_implementations import (
    expected_values,
    implementations,
    jube_program,
)
from weather_hpc.bench.collect_inputs import log_path, make_logs, make_once, make_records
from weather_hpc.bench.measurement import Implementation, measure
from weather_hpc.collect.sources import find_runs, read_runs
from weather_hpc.errors import FailedError, UserError

LOGS, SIZE = 10, 4000


def test_as_a_user_runs_it(tmp_path: Path) -> None:
    words = ["--records", "20", "--logs", "10", "--log-mb", "1", "--rounds", "1", "--json"]
    folders = ["--dir", str(tmp_path / "made"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "weather_hpc.bench", "collect", *words, *folders],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert value == json.loads((tmp_path / "out" / "bench-collect.json").read_text())
    found = {c["name"]: c for c in value["contestants"]}
    ours, regex = found["weather_hpc collect"], found["regex"]
    assert ours["ratio"] == 1.0
    assert regex["ratio"] == pytest.approx(regex["median_s"] / ours["median_s"])
    for name in ("JUBE", "ReFrame"):  # optional: they ran, or there is a reason
        assert (found[name]["ratio"] is None) == (found[name]["reason"] is not None)
    grown = {g["what"]: g for g in value["growth"]}
    assert grown["run records"]["runs"] == [2, 20]
    assert grown["both together"]["runs"] == [3, 30]
    assert all(min(g["peak_memory_mb"]) > 0 for g in grown.values())
    assert "weather_hpc collect" in done.stderr
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert {"records-20", f"logs-10x{2**20 // 10}"} <= made


class Made(NamedTuple):
    """Logs, and all implementations that read them except this package's."""

    logs: Path
    readers: dict[str, Implementation]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    logs = tmp_path / "logs"
    make_logs(logs, LOGS, SIZE)
    expected = expected_values(LOGS, SIZE)
    readers = implementations(logs, expected, tmp_path / "jube", sys.executable)
    return Made(logs, {c.name: c for c in readers if c.missing is None})


@pytest.mark.parametrize("reader", ["regex", "awk"])
def test_a_peer_reads_what_was_printed(made: Made, reader: str) -> None:
    assert measure(made.readers[reader]).seconds > 0


@pytest.mark.parametrize("reader", ["regex", "awk"])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Accuracy: 0.", "Accuracy: 0.0", "accuracy: 0.0"),
        ("Epoch: ", "Epoch: 7", "epochs: 80 read, expected 10"),
        ("Rank: 0", "Rank: 9", "ranks: 10 read, expected 3"),
    ],
)
def test_a_wrong_value_is_reported(made: Made, reader: str, old: str, new: str, said: str) -> None:
    log = made.logs / log_path(2)
    log.write_text(log.read_text().replace(old, new))
    with pytest.raises(FailedError, match=f"^{log_path(2)}: {said}"):
        measure(made.readers[reader])


@pytest.mark.parametrize("reader", ["regex", "awk"])
def test_a_total_wrong_in_its_last_digits_is_reported(made: Made, reader: str) -> None:
    log = made.logs / log_path(0)
    *lines, total = log.read_text().splitlines()
    log.write_text("\n".join([*lines, repr(float(total) * (1 + 1e-12)), ""]))
    with pytest.raises(FailedError, match="time_s: "):
        measure(made.readers[reader])


def test_a_log_that_was_not_read_is_reported(made: Made) -> None:
    (made.logs / log_path(3)).unlink()
    with pytest.raises(FailedError, match=f"9 logs read, expected 10.*{log_path(3)}"):
        measure(made.readers["regex"])


FAKE_JUBE = """#!/bin/sh
case "$1" in
  result) cat "{table}" ;;
  *) cp "$3" "{configuration}"; mkdir $(sed -n 's/.*outpath="\\([^"]*\\)".*/\\1/p' "$3") ;;
esac
"""


def test_jube_is_prepared_and_its_table_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program in JUBE's place that prints what JUBE 2.5.1 prints."""
    table, configuration = tmp_path / "table", tmp_path / "configuration"
    fake = tmp_path / "bin" / "jube"
    fake.parent.mkdir()
    fake.write_text(FAKE_JUBE.format(table=table, configuration=configuration))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    expected = expected_values(LOGS, SIZE)
    jube = implementations(tmp_path, expected, tmp_path / "prepared", sys.executable)[1]
    assert "part-0/000000/ddp_1gpu_bs32.log" in configuration.read_text()

    rows = [
        f"{log},{f.ranks - 1},{f.epochs - 1},{f.accuracy},{f.time_s:.15g}"
        for log, f in expected.items()
    ]
    head = ["####", "log,rank_max,epoch_max,accuracy_last,time_s_max"]
    table.write_text("\n".join([*head, *rows, ""]))
    assert measure(jube).seconds > 0
    table.write_text("\n".join([*head, *rows[:-1], ""]))
    with pytest.raises(FailedError, match="9 logs read, expected 10"):
        measure(jube)


def test_without_jube_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    named = {c.name: c for c in implementations(tmp_path, {}, tmp_path / "jube", "/no/python")}
    assert "no jube on PATH" in str(named["JUBE"].missing)
    assert "/no/python" in str(named["ReFrame"].missing)


def test_jube_is_found_next_to_the_interpreter_of_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    jube = tmp_path / "venv" / "bin" / "jube"
    jube.parent.mkdir(parents=True)
    jube.write_text("#!/bin/sh\n")
    jube.chmod(0o755)
    assert jube_program(str(jube.parent / "python")) == str(jube)
    assert jube_program(str(tmp_path / "python")) is None


def test_synthetic_records_are_complete_and_consistent(tmp_path: Path) -> None:
    make_records(tmp_path, 240)
    readings = list(read_runs(find_runs([tmp_path])))
    assert len({reading.content for reading in readings}) == 240
    assert {reading.row.table for reading in readings} == {"preprocess", "training"}
    assert [finding for reading in readings for finding in reading.findings] == []


def test_inputs_are_made_once_and_never_half(tmp_path: Path) -> None:
    calls = []

    def make(path: Path) -> None:
        path.mkdir()
        (path / "file").touch()
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once(tmp_path / "made", make)
    assert not (tmp_path / "made").exists()
    for _ in range(2):
        make_once(tmp_path / "made", make)
    assert len(calls) == 2
    assert os.listdir(tmp_path) == ["made"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "0"], "--rounds 0"),
        (["--records", "9"], "--records 9: must be at least 10"),
        (["--log-mb", "1", "--logs", "1000"], "take fewer --logs"),
        (["--log-mb", "900000000"], "GB are free there; choose another --dir"),
    ],
)
def test_wrong_options_are_reported_before_anything_is_made(
    words: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        main(["collect", "--dir", str(tmp_path), *words])
    assert list(tmp_path.iterdir()) == []
