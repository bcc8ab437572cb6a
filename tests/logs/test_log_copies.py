"""A run that is there twice under two names, however one of them was disguised."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.logs.maker import epoch_line, log_lines
from weather_hpc.collect.sources import find_sources, read_sources
from weather_hpc.runs.row import Code, Reading

LINES = log_lines()
NAME = "ddp_{gpus}gpu_bs{batch_size}.log"


def _read(folder: Path, **logs: list[str]) -> dict[str, Reading]:
    for name, lines in logs.items():
        (folder / f"ddp_{name}.log").write_text("\n".join(lines) + "\n")
    return {
        reading.row.run_id: reading for reading in read_sources(find_sources([folder], NAME))[0]
    }


def _messages(reading: Reading) -> list[str]:
    return [f.message for f in reading.findings if f.code is Code.DUPLICATE_CONTENT]


def _swapped(line: str) -> str:
    return line.replace("Rank: 0", "Rank: x").replace("Rank: 1", "Rank: 0").replace("x", "1")


DISGUISES: dict[str, Callable[[list[str]], list[str]]] = {
    "as it is": lambda lines: lines,
    "spaces": lambda lines: [line.replace(" || ", "  ||   ") + " " for line in lines],
    "tabs": lambda lines: [line.replace(" || ", "\t") for line in lines],
    "without a head": lambda lines: lines[14:],
    "without the last epoch": lambda lines: lines[:38] + lines[40:],
    "without half of its lines": lambda lines: lines[:40:2] + lines[40:],
    "ranks the other way round": lambda lines: [_swapped(line) for line in lines],
    "epochs from 1": lambda lines: [line.replace("Epoch: ", "Epoch: 1") for line in lines],
    "another total": lambda lines: [line.replace("82.0", "83.5") for line in lines],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_copy_is_found(tmp_path: Path, disguise: str) -> None:
    found = _read(tmp_path, **{"2gpu_bs32": LINES, "2gpu_bs64": DISGUISES[disguise](LINES)})
    original, copy = found["ddp_2gpu_bs32"], found["ddp_2gpu_bs64"]
    assert (original.row.table, copy.row.table) == ("training", None)
    assert "same content as ddp_2gpu_bs32" in (copy.row.reason or "")
    assert "the same run as" in _messages(copy)[0]


def test_which_of_two_names_is_right_is_left_open(tmp_path: Path) -> None:
    found = _read(tmp_path, **{"2gpu_bs32": LINES, "2gpu_bs64": LINES})
    kept = found["ddp_2gpu_bs32"]
    assert "nothing shows which is right" in _messages(kept)[0]
    assert kept.row.audit_errors == "duplicate_content"


def test_a_name_that_does_not_fit_is_no_doubt(tmp_path: Path) -> None:
    found = _read(tmp_path, **{"1gpu_bs32": LINES, "2gpu_bs32": LINES})
    copy = found["ddp_1gpu_bs32"]
    assert copy.row.table is None
    assert {f.code for f in copy.findings} == {Code.DUPLICATE_CONTENT, Code.RANK_COUNT_MISMATCH}
    assert _messages(found["ddp_2gpu_bs32"]) == []


def test_ranks_made_up_from_others_are_a_copy(tmp_path: Path) -> None:
    more = [line.replace("Rank: 0", "Rank: 2").replace("Rank: 1", "Rank: 3") for line in LINES]
    found = _read(tmp_path, **{"2gpu_bs32": LINES, "4gpu_bs32": LINES + more})
    assert found["ddp_4gpu_bs32"].row.table is None
    assert _messages(found["ddp_2gpu_bs32"]) == []


def test_another_run_is_no_copy(tmp_path: Path) -> None:
    others = [line.replace("Time: 4", "Time: 5").replace("82.0", "102.0") for line in LINES]
    found = _read(tmp_path, **{"2gpu_bs32": LINES, "2gpu_bs64": others})
    assert [reading.row.table for reading in found.values()] == ["training"] * 2
    assert not any(map(_messages, found.values()))


def test_a_total_of_another_run_is_reported(tmp_path: Path) -> None:
    others = [line.replace("Time: 4.0", "Time: 4.1") for line in LINES]
    edited = [[line.replace("82.0", "83.1234567") for line in lines] for lines in (LINES, others)]
    found = _read(tmp_path, **{"2gpu_bs32": edited[0], "2gpu_bs64": edited[1]})
    assert "is to the last digit that of ddp_2gpu_bs32" in _messages(found["ddp_2gpu_bs64"])[0]


def test_long_runs_that_share_rounded_figures_by_chance_are_no_copies(tmp_path: Path) -> None:
    logs = {}
    for seed in (1, 2):
        draw = random.Random(seed)
        lines = [
            epoch_line(0, epoch, loss=f"{draw.random():.3f}", accuracy="0.5", time="4.0")
            for epoch in range(2000)
        ]
        logs[f"1gpu_bs{32 * seed}"] = [*lines, str(8000 + draw.random())]
    readings = _read(tmp_path, **logs)
    assert all(reading.epochs and reading.row.table for reading in readings.values())
