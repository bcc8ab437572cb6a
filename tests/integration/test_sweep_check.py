"""``sweep check`` on a real Slurm: its jobs, one after the other, and what comes of them.

A stand-in for the interpreter leaves what the check verb would, so that a job takes no time.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Slurm
from weather_hpc.runs.paths import StudyPaths

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_sweeps")]

REPOSITORY = Path(__file__).resolve().parents[2]

STUDY = {
    "name": "tiny",
    "repeats": 1,
    "synthetic": {"images_per_class": 1},
    "train": [
        {"strategy": "ddp", "device": "cuda", "world_size": [1, 2, 8]},
        {"strategy": "ddp", "device": "cuda", "nodes": 2, "world_size": 2},
    ],
}
"""No node has the eight GPUs that one of its runs requests."""

STAND_IN = """\
#!{python}
import os, sys, time
from pathlib import Path
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.runs.checks import CheckResult

out = Path(sys.argv[sys.argv.index("--out") + 1])
ok = not (out.parents[1] / "broken").exists() or out.name != "check_2node"
names = ("SLURM_JOB_NUM_NODES", "PET_NODE_RANK", "WEATHER_HPC_RENDEZVOUS", "CUDA_VISIBLE_DEVICES")
figures = {{name: os.environ.get(name) for name in names}}
result = CheckResult(name="versions", ok=ok, seconds=0, at=time.time(), figures=figures)
result.append_to(CheckPaths(out).results)
"""


def test_a_job_on_one_node_then_one_on_two(slurm: Slurm, tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "results")
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    site = {
        "python": str(python),
        "environment": {"PYTHONPATH": str(REPOSITORY)},
        "slurm": {"partition": "gpu", "interface": "lo"},
    }
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY))
    argv = [
        sys.executable, "-m", "weather_hpc.sweep", "check", "--executor", "slurm",
        "--study", str(tmp_path / "study.yaml"), "--site", str(tmp_path / "site.yaml"),
        "--results", str(paths.root),
    ]  # fmt: skip
    done = slurm.run([*argv, "--json"], timeout_s=120, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    one, *two = json.loads(done.stdout.splitlines()[-1])["checks"]
    assert one["where"] == "check_1node"
    assert one["figures"]["SLURM_JOB_NUM_NODES"] == "1"
    assert one["figures"]["CUDA_VISIBLE_DEVICES"] == "0,1", "as the largest run that a node holds"
    assert [check["where"] for check in two] == ["check_2node", "check_2node"]
    assert sorted(check["figures"]["PET_NODE_RANK"] for check in two) == ["0", "1"]
    assert len({check["figures"]["WEATHER_HPC_RENDEZVOUS"] for check in two}) == 1
    assert min(check["at"] for check in two) >= one["at"]

    (paths.root / "broken").touch()
    done = slurm.run(argv, timeout_s=120, cwd=REPOSITORY)
    assert done.returncode == 1, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "check_1node: passed   versions",
        "check_2node: failed   versions",
        "check_2node: failed   versions",
    ]
