"""``sweep check``: where the check runs, its command, its results and exit codes."""

import json
import sys
from pathlib import Path

import pytest

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.launch.sbatch import check_script, planned_checks
from weather_hpc.runs.checks import CheckResult
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.sweep.__main__ import main

STUDY = """\
name: small
repeats: 1
image_size: 32
synthetic: {images_per_class: 1}
preprocess:
  - backend: sequential
"""

STAND_IN = """\
#!/bin/sh
[ "$2" = weather_hpc.check ] || exec @python "$@"
echo "$@" >>"@folder/arguments"
echo "NOTE is $NOTE"
cp "@folder/results.jsonl" "$6/check.jsonl" 2>/dev/null
exit "$(cat "@folder/code")"
"""
"""The interpreter of the jobs; it runs no check but writes the results that the test gives."""


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """The verb's options: a small study on a site whose interpreter is the stand-in."""
    python = tmp_path / "python"
    text = STAND_IN.replace("@python", sys.executable).replace("@folder", str(tmp_path))
    python.write_text(text)
    python.chmod(0o755)
    (tmp_path / "study.yaml").write_text(STUDY)
    site = {"python": str(python), "environment": {"NOTE": "here"}}
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    return [
        "--study", str(tmp_path / "study.yaml"), "--site", str(tmp_path / "site.yaml"),
        "--results", str(tmp_path / "results"), "--executor", "local",
    ]  # fmt: skip


def leave(tmp_path: Path, code: int, *results: tuple[str, bool | None]) -> None:
    """Give the stand-in its results and exit code."""
    (tmp_path / "code").write_text(str(code))
    (tmp_path / "results.jsonl").unlink(missing_ok=True)
    for name, ok in results:
        result = CheckResult(name=name, ok=ok, seconds=0.1, at=1e9, detail="as given")
        result.append_to(tmp_path / "results.jsonl")


def sweep(*argv: str) -> int:
    return cli.guarded("sweep", main, argv)


def test_this_machine_is_checked(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = StudyPaths(tmp_path / "results")
    leave(tmp_path, 0, ("versions", True), ("telemetry", None))
    assert sweep("check", *options) == cli.EXIT_OK
    assert capfd.readouterr().out == "NOTE is here\n", "in the site's environment, as it prints"
    arguments = (tmp_path / "arguments").read_text()
    folder = paths.check("local").root
    assert arguments == f"-m weather_hpc.check --device cpu --out {folder}\n"

    leave(tmp_path, 1, ("versions", True), ("resume", False))
    assert sweep("check", *options, "--json") == cli.EXIT_FAILED
    (line,) = capfd.readouterr().out.splitlines()
    checks = json.loads(line)["checks"]
    assert [(c["where"], c["name"], c["ok"]) for c in checks] == [
        ("local", "versions", True), ("local", "resume", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "results", "message"),
    [
        (1, [], "local: the check left no results in"),
        (139, [("versions", True)], "the check died: killed by SIGSEGV (exit code 139)"),
    ],
)
def test_a_check_that_dies_is_one_line(
    code: int,
    results: list[tuple[str, bool | None]],
    message: str,
    options: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    leave(tmp_path, 0, ("versions", True))
    assert sweep("check", *options) == cli.EXIT_OK
    leave(tmp_path, code, *results)
    capfd.readouterr()
    assert sweep("check", *options) == cli.EXIT_FAILED
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line


def test_the_first_sweep_of_a_folder_suggests_the_check(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sweep(*options, "--dry-run") == cli.EXIT_OK
    assert "not checked yet" not in capfd.readouterr().err
    assert sweep(*options) == cli.EXIT_OK
    printed = capfd.readouterr().err
    assert printed.count("not checked yet") == 1
    assert f"`python -m weather_hpc.sweep check --study {tmp_path}/study.yaml" in printed
    assert sweep(*options) == cli.EXIT_OK
    assert "not checked yet" not in capfd.readouterr().err


def test_the_check_is_not_suggested_again_after_one(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, 1, ("resume", False))
    assert sweep("check", *options) == cli.EXIT_FAILED
    assert sweep(*options) == cli.EXIT_OK
    assert "not checked yet" not in capfd.readouterr().err
    audit = StudyPaths(tmp_path / "results").audit.read_text()
    assert "results/check/local,warning,check_failed,resume failed: as given" in audit


def test_a_dry_run_shows_the_script_and_writes_nothing(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sweep("check", *options, "--dry-run") == cli.EXIT_OK
    script = capfd.readouterr().out
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "export NOTE=here" in script
    assert not (tmp_path / "results").exists()


def plan_of(tmp_path: Path, train: str) -> Plan:
    path = tmp_path / "several.yaml"
    path.write_text(STUDY.replace("image_size: 32\n", "") + f"train:\n  - {train}\n")
    return make_plan(load_study(str(path)), "")


def test_jobs_request_what_the_largest_runs_request(tmp_path: Path) -> None:
    site = SiteProfile.model_validate(
        {"python": "/opt/python", "slurm": {"gpu_partition": "gpu", "interface": "ib0"}}
    )
    plan = plan_of(tmp_path, "{strategy: ddp, device: cuda, nodes: [1, 2, 4], world_size: 8}")
    one, two = planned_checks(plan.all)
    assert (one.name, two.name) == ("check_1node", "check_2node")
    assert [c.spec.resources.nodes for c in (one, two)] == [1, 2]
    assert [c.spec.resources.gpus_per_node for c in (one, two)] == [8, 4]

    text = check_script(two, "whpc-check", "t1", StudyPaths(Path("/r")), site)
    for option in ("--job-name=whpc-check", "--partition=gpu", "--nodes=2", "--gres=gpu:4"):
        assert f"#SBATCH {option}\n" in text
    assert "export WEATHER_HPC_RENDEZVOUS\n" in text
    assert "export NCCL_SOCKET_IFNAME=ib0" in text
    step = text[text.index("exec srun") :]
    assert "--gres=gpu:4" in step
    assert "PET_NODE_RANK=$SLURM_NODEID" in step
    for launcher in ("-m weather_hpc.train.torchrun", "--nnodes=2", "--nproc-per-node=4"):
        assert launcher in step
    assert step.endswith("--out /r/check/check_2node\n")
    assert "--device" not in step


def test_a_study_on_single_nodes_has_one_check(tmp_path: Path) -> None:
    (one,) = planned_checks(
        plan_of(tmp_path, "{strategy: ddp, device: cpu, world_size: [1, 4]}").all
    )
    assert (one.spec.resources.cpus_per_node, one.spec.resources.gpus_per_node) == (4, 0)


def test_a_study_whose_runs_all_submit_workers_has_no_check(tmp_path: Path) -> None:
    path = tmp_path / "queue.yaml"
    path.write_text(STUDY.replace("sequential", "dask-jobqueue"))
    with pytest.raises(UserError, match="no run of the study can run here"):
        planned_checks(make_plan(load_study(str(path)), "").all)
