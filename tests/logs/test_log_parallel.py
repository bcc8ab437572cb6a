"""Logs read by several processes are read as by one, even if a process is killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.maker import PATTERN, epoch_line, log_lines
from weather_hpc.errors import UserError
from weather_hpc.logs import read_logs, reader
from weather_hpc.logs.parallel import MOST_PROCESSES, WORTH_BYTES, parallel_map, process_count
from weather_hpc.runs.row import Reading, Row


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    for number in range(20):
        lines = [epoch_line(0, number), *log_lines(ranks=2)] if number % 3 else ["[##] nothing"]
        (tmp_path / f"ddp_2gpu_bs{number}.log").write_text("\n".join(lines) + "\n")
    return sorted(tmp_path.glob("*.log"))


def test_several_processes_give_the_same_readings_in_the_same_order(
    logs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one = list(read_logs(logs, PATTERN))
    monkeypatch.setattr(reader, "process_count", lambda _: 2)
    assert list(read_logs(logs, PATTERN)) == by_one
    assert {bool(reading.epochs) for reading in by_one} == {True, False}


def _read(file: Path, run_id: str, parent: int) -> Reading:
    if run_id == "killer" and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    if run_id == "wrong":
        raise UserError("what is wrong")
    return Reading(Row(run_id=run_id, source=str(file), status="ok"))


def _ids(readings: Iterator[Reading]) -> list[str]:
    return [reading.row.run_id for reading in readings]


def test_if_a_process_is_killed_this_one_reads_the_rest() -> None:
    names = [*map(str, range(5)), "killer", *map(str, range(5, 30))]
    arguments = [(Path(name), name) for name in names]
    assert _ids(parallel_map(_read, arguments, (os.getpid(),), 2)) == names


def test_an_error_is_raised_and_ends_the_map() -> None:
    arguments = [(Path(name), name) for name in ("a", "wrong", *"bcdefghijkl")]
    with pytest.raises(UserError, match=r"^what is wrong$"):
        _ids(parallel_map(_read, arguments, (0,), 2))


def test_small_logs_are_read_by_one_process(logs: list[Path]) -> None:
    assert process_count(logs) < 2
    assert process_count([*logs, Path("/no/such")]) < 2


def test_large_logs_are_read_by_up_to_four_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    with (tmp_path / "large.log").open("wb") as file:
        file.truncate(3 * WORTH_BYTES)  # sparse
    assert process_count([tmp_path / "large.log"]) == 1  # one file is read by one
    assert process_count([tmp_path / "large.log"] * 9) == MOST_PROCESSES
