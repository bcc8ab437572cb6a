"""Results of the check verb in a study's folder: findings and a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, train_spec
from weather_hpc.collect.pipeline import collect
from weather_hpc.runs.checks import CheckResult
from weather_hpc.runs.paths import StudyPaths

pytestmark = pytest.mark.usefixtures("undrawn_plots")

CHECK_CODES = {
    "check_failed", "check_unreadable", "wrong_binding", "slow_network", "exchange_time",
}  # fmt: skip


def checked(
    root: Path, folder: str, name: str, ok: bool | None = True, at: float = 1.0, **more: Any
) -> Path:
    path = StudyPaths(root).check(folder).results
    CheckResult(name=name, ok=ok, seconds=1.0, at=at, **more).append_to(path)
    return path


def network(root: Path, folder: str, gb_s: float, at: float = 1.0, **figures: Any) -> None:
    known = {"device": "cuda", "nodes": 1, "ranks": 2, "bus_gb_s_64mb": gb_s, "latency_us": 30}
    checked(root, folder, "all-reduce", at=at, figures=known | figures)


def run(root: Path, world_size: int, time_s: float, nodes: int = 1, device: str = "cuda") -> None:
    """1,000,000 parameters, 40 steps in 2 epochs."""
    strategy = "single" if world_size == 1 else "ddp"
    task = {"device": device, "batch_mode": "global"}
    spec = train_spec(strategy, world_size, task=task, resources={"nodes": nodes})
    record = measured(
        spec, time_s, actual={"device": device, "nodes": nodes}, counts={"steps": 40},
        quality={"parameters": 1_000_000},
    )  # fmt: skip
    leave(root, record)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = tmp_path / "study"
    run(root, 1, 10.0)
    return root


def findings(*roots: Path, out: Path | None = None) -> list[tuple[str, str, str, str]]:
    """Source, severity, code and message of findings about checks, from report.json."""
    where = out or roots[0]
    collect(roots, where)
    report = json.loads((where / "report.json").read_bytes())
    return [tuple(f.values()) for f in report["findings"] if f["code"] in CHECK_CODES]


def test_checks_that_passed_or_were_not_done_are_no_finding(study: Path) -> None:
    checked(study, "local", "versions", detail="torch 2.13")
    checked(study, "local", "telemetry", None, detail="no GPU")
    assert findings(study) == []
    lines = (study / "tables" / "checks.csv").read_text().splitlines()
    assert lines[1:] == [
        "study/check/local,versions,passed,1.0,torch 2.13",
        "study/check/local,telemetry,not done,1.0,no GPU",
    ]
    assert "Machine checks" in (study / "report.md").read_text()


def test_a_study_without_checks_has_no_table_of_them(study: Path) -> None:
    assert findings(study) == []
    assert not (study / "tables" / "checks.csv").exists()


def test_a_check_that_failed_last_is_a_finding(study: Path) -> None:
    checked(study, "1node", "resume", False, at=1, detail="weights differ")
    checked(study, "1node", "resume", None, at=2, detail="no time left")
    checked(study, "1node", "binding", False, at=3, detail="rank 1 has no CPU near GPU 1")
    assert findings(study) == [
        ("study/check/1node", "warning", "check_failed", "resume failed: weights differ"),
        ("study/check/1node", "warning", "wrong_binding", "rank 1 has no CPU near GPU 1"),
    ]


def test_a_check_that_passed_later_at_the_same_place_is_no_finding(study: Path) -> None:
    checked(study, "check_1node-12", "resume", False, at=1)
    checked(study, "check_1node-9", "resume", True, at=2)
    checked(study, "check_2node-13", "resume", False, at=0)
    checked(study, "check_2node-13", "versions", True, at=3)
    assert findings(study) == [
        ("study/check/check_2node-13", "warning", "check_failed",
         "resume failed: no reason given"),
    ]  # fmt: skip


def test_a_damaged_file_is_one_finding_and_its_valid_lines_are_kept(study: Path) -> None:
    path = checked(study, "local", "versions", False, detail="torch is too old")
    path.write_bytes(path.read_bytes() + b'{"name": 1}\n\xff\n' + path.read_bytes())
    StudyPaths(study).check("empty").results.mkdir(parents=True)
    assert [(f[0], f[2]) for f in findings(study)] == [
        ("study/check/local", "check_failed"),
        ("study/check/empty", "check_unreadable"),
        ("study/check/local", "check_unreadable"),
    ]
    assert len((study / "tables" / "checks.csv").read_text().splitlines()) == 3


def test_a_slow_network_between_nodes_where_runs_depend_on_it(study: Path) -> None:
    network(study, "1node", 48.0)
    network(study, "2node", 1.25, nodes=2, ranks=4)
    assert findings(study) == [], "no run has several nodes"
    run(study, 4, 2.6, nodes=2)
    (found,) = findings(study)
    assert found[:3] == ("study/check/2node", "info", "slow_network")
    assert found[3] == (
        "bus bandwidth of all-reduce on cuda: 1.25 GB/s with 4 ranks on 2 nodes, 48 GB/s with "
        "2 ranks on 1 node (study/check/1node); 1 training run used several nodes"
    )
    network(study, "2node", 12.5, at=2, nodes=2, ranks=4)
    assert findings(study) == [], "measured again"


def test_a_low_efficiency_is_reported_with_the_time_of_the_exchange(study: Path) -> None:
    """4 MB x 20 steps x 2 x 3/4 at 0.1 GB/s."""
    run(study, 4, 5.0, nodes=2)
    network(study, "2node", 0.1, nodes=2, ranks=4)
    network(study, "other", 90.0, at=9, nodes=2, ranks=16)
    (found,) = findings(study)
    assert found[:3] == ("study/check/2node", "info", "exchange_time")
    assert found[3] == (
        "ddp on cuda, 2 nodes, 4 ranks, batch 8: efficiency 0.50. Gradients: 4 MB per step, "
        "0.08 GB per epoch; at the 0.1 GB/s measured with 4 ranks on 2 nodes their exchange takes "
        "1.2 s of 2.5 s per epoch, minus the part that overlaps with computation"
    )


@pytest.mark.parametrize(
    "figures",
    [
        {"nodes": 1, "ranks": 4},
        {"device": "cpu"},
        {"bus_gb_s_64mb": None},
        {"bus_gb_s_64mb": "0.1"},
        {"bus_gb_s_64mb": 0},
        {"ranks": True},
        {"ranks": 1},
    ],
)
def test_other_networks_and_invalid_values_explain_nothing(
    study: Path, figures: dict[str, Any]
) -> None:
    run(study, 4, 5.0, nodes=2)
    network(study, "2node", **{"gb_s": 0.1, "nodes": 2, "ranks": 4} | figures)
    assert findings(study) == []


def test_a_good_efficiency_and_shared_memory_need_no_explanation(tmp_path: Path) -> None:
    root = tmp_path / "study"
    for world_size, time_s in ((1, 10.0), (2, 9.0)):
        run(root, world_size, time_s, device="cpu")
        run(root, world_size, time_s * 0.6 / world_size)
    network(root, "local", 0.1, device="cpu")
    network(root, "local", 0.1)
    assert findings(root) == []


def test_only_the_checks_of_what_is_collected_count(study: Path, tmp_path: Path) -> None:
    """A network explains the runs of its own study; a run's folder alone has no checks."""
    other = tmp_path / "other"
    run(other, 4, 5.0, nodes=2)
    network(study, "2node", 0.1, nodes=2, ranks=4)
    assert findings(study, other, out=tmp_path / "both") == []
    checked(study, "local", "versions", False)
    (folder,) = StudyPaths(study).runs.iterdir()
    assert findings(folder, out=tmp_path / "run") == []
