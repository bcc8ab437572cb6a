"""Every log, accounting dump and reference table of the shared cases, collected as a user would.

``EXPECTED`` states in columns what ``cases.csv`` states in words.
"""

import csv
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from weather_hpc import cli
from weather_hpc.collect.__main__ import main
from weather_hpc.slurm.cluster import parse_node

pytestmark = pytest.mark.usefixtures("undrawn_plots")


@dataclass(frozen=True)
class Expected:
    """What comes out of one case; ``rows`` are the rows' columns, in order of their run_id."""

    rows: tuple[dict[str, Any], ...] = ()
    never: tuple[str, ...] = ()
    """What neither the audit nor a reason says."""
    says: tuple[str, ...] = ()
    """What the audit, a reason or the terminal says."""
    exit_code: int = cli.EXIT_OK


def one(*, never: tuple[str, ...] = (), says: tuple[str, ...] = (), **columns: Any) -> Expected:
    return Expected((columns,), never, says)


TRAINING: dict[str, Any] = {"table": "training"}
BAD = ("'severity': 'error'",)
TWICE = ("two runs in one file",)
WHOLE: dict[str, Any] = {**TRAINING, "epochs_done": 3, "time_s": 91.2}

EXPECTED: dict[str, Expected] = {
    "a1": one(**WHOLE, world_size_actual=2, train_loss=0.825, never=BAD),
    "a4": one(**TRAINING, world_size_actual=8, train_loss=0.735, never=("restarted", *TWICE)),
    "b1": one(**TRAINING, epochs_done=3, time_s=13.2, train_loss=0.5412, train_accuracy=0.8101),
    "c1": one(table=None, epochs_done=None, train_loss=None, never=TWICE,
              says=('{"global_step": 20, "epoch": 0, "loss": 5.000}',)),
    "d1": one(table=None, train_accuracy=None,
              says=("Epoch 1/3, train_loss: 0.90, val_loss: 1.00, accuracy: 0.71",)),
    "e1": one(table=None, epochs_done=4, train_loss=1.143, test_accuracy=0.7565,
              says=("no total",)),
    "f1": one(**TRAINING, time_s=374.0),
    "f2": one(**TRAINING, time_s=69.03),
    "f5": one(**TRAINING, time_s=91.2),
    "f7": one(**TRAINING, time_s=19.06),
    "g1": one(**TRAINING, epochs_done=2, time_s=3432.415, test_accuracy=0.051),
    "g2": one(**TRAINING, epochs_done=3, time_s=2171.0, test_accuracy=0.20786),
    "g3": one(**TRAINING, epochs_done=3, time_s=141.2, train_loss=1.5123, train_accuracy=0.6512),
    "g6": one(**TRAINING, epochs_done=20, train_loss=0.9),
    "g7": one(time_s=85.4591, epochs_done=1, train_loss=0.5028616972640156),
    "g9": one(world_size_actual=2, time_s=4382.18, epochs_done=3),
    "g10": one(table=None, epochs_done=2, test_accuracy=0.625, says=("no total",)),
    "g12": one(**TRAINING, epochs_done=3, time_s=51.2, test_accuracy=0.9833),
    "g14": one(**TRAINING, epochs_done=3, time_s=1722.4, train_loss=6.326),
    "g15": one(table=None, epochs_done=3, train_loss=2.2, test_loss=2.11, says=("no total",),
               never=("Going into epoch 1",)),
    "g16": one(table=None, steps=1000, says=("no total",)),
    "g17": one(time_s=1698.0, test_accuracy=0.67),
    "g18": one(table=None, epochs_done=3, test_accuracy=0.52, says=("no total",)),
    "g19": one(table=None, images_per_s=1188.51, says=("no total",)),
    "g20": one(**TRAINING, epochs_done=3, train_accuracy=0.9594, test_accuracy=0.9828),
    "h1": one(**TRAINING, epochs_done=4, time_s=5.73, train_loss=0.02),
    "h3": one(**WHOLE, train_accuracy=0.53),
    "h5": one(**WHOLE, world_size_actual=4),
    "h6": one(**TRAINING, world_size_actual=8, time_s=91.5, never=TWICE),
    "h7": one(**TRAINING, epochs_done=3, time_s=15.2, world_size_actual=2, train_loss=0.705),
    "i1": one(**TRAINING, time_s=91.5, world_size_actual=4, never=TWICE),
    "i3": one(**TRAINING, world_size_actual=None, train_loss=0.8, never=("rank_count_mismatch",)),
    "j1": one(status="timeout", says=("DUE TO TIME LIMIT", "14 of 20 epochs")),
    "j4": one(status="timeout", says=("DUE TO TIME LIMIT",)),
    "j5": one(status="timeout", says=("DUE TO TIME LIMIT",)),
    "k1": Expected(exit_code=cli.EXIT_USAGE, says=("sacct",)),
    "k2": one(slurm_state="COMPLETED", slurm_elapsed_s=46770.0),
    "k4": one(slurm_state="COMPLETED"),
    "k6": one(slurm_state="COMPLETED"),
    "k9": Expected(exit_code=cli.EXIT_USAGE, says=("sacct",)),
    "k10": one(slurm_state="COMPLETED", slurm_elapsed_s=123.0),
    "k11": one(status="out_of_memory", says=("sacct",)),
    "k12": Expected((
        {"slurm_state": "COMPLETED"}, {"slurm_state": "COMPLETED", "node_hours": 26.0},
        {"slurm_state": "CANCELLED by 1001"},
    )),
    "l1": Expected(exit_code=cli.EXIT_FAILED, says=("minutes",), never=("regression",)),
    "l3": Expected(says=("images_per_s",), exit_code=cli.EXIT_FAILED),
    "l4": Expected(says=("3 configurations compared",)),
    "l6": Expected(says=("median",)),
    "l7": Expected(says=("3 configurations compared",)),
    "n1": one(**WHOLE),
    "y1": one(**TRAINING, epochs_done=2, time_s=3432.415, test_accuracy=0.051,
              never=("restarted",)),
    "y2": one(train_loss=-0.6949, never=("cross entropy",)),
}  # fmt: skip


def cases(folder: Path) -> dict[str, dict[str, str]]:
    """The lines of cases.csv that are for collect, by the first part of their file's name."""
    with (folder / "cases.csv").open() as file:
        lines = list(csv.DictReader(file))
    return {
        line["file"].split("/")[0].split("_")[0]: line
        for line in lines
        if line["options"].startswith("--")
    }


def test_every_case_is_expected(shared_cases: Path) -> None:
    assert sorted(cases(shared_cases / "logs")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_case(
    shared_cases: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case, expected = cases(shared_cases / "logs")[name], EXPECTED[name]
    monkeypatch.chdir(shared_cases / "logs")
    argv = [*case["file"].split(), *shlex.split(case["options"]), "--out", str(tmp_path)]
    assert cli.guarded("collect", main, argv) == expected.exit_code
    told = "".join(capsys.readouterr())
    rows = read(tmp_path / "rows.csv")
    told += "\n".join(str(line) for line in [*rows, *read(tmp_path / "audit.csv")])
    if expected.rows:
        assert len(rows) == len(expected.rows)
        in_order = sorted(rows, key=lambda row: row["run_id"])
        for row, columns in zip(in_order, expected.rows, strict=True):
            got = {column: row[column] for column in columns}
            assert got == {column: cell(value) for column, value in columns.items()}
    for text in expected.says:
        assert text in told
    for text in expected.never:
        assert text not in told


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def cell(value: Any) -> str:
    """``value`` as rows.csv has it."""
    return "" if value is None else str(value)


@pytest.mark.parametrize(
    ("name", "gpus", "partitions", "out_of_service"),
    [
        ("m1_cloud_powered_down.txt", None, None, False),
        ("m3_lscratch.txt", {"a100": 4}, ("interactive", "gpu"), False),
        ("m4_shard_mps.txt", {"nvidia_a100-sxm4-80gb": 4}, None, False),
    ],
)
def test_a_node(
    shared_cases: Path,
    name: str,
    gpus: dict[str, int] | None,
    partitions: tuple[str, ...] | None,
    out_of_service: bool,
) -> None:
    node = parse_node((shared_cases / "logs" / name).read_text().strip())
    assert node is not None
    assert gpus is None or node.gpus == gpus
    assert partitions is None or set(node.partitions) == set(partitions)
    assert node.out_of_service == out_of_service
