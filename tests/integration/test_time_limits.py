"""Runs at their time limit on a real Slurm, all at once: it looks at limits only twice a minute."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.conftest import Slurm
from tests.integration.test_slurm_executor import REPOSITORY, Sweep, a_sweep
from tests.integration.test_submitit import SUBMITIT, a_submitit_sweep

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_sweeps")]

Waiting = dict[str, tuple[Sweep, "subprocess.Popen[str]"]]
"""Sweeps by the name of what is tested, each with the process that waits for its jobs."""


@pytest.fixture(scope="module")
def waiting(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    folder = tmp_path_factory.mktemp("limits")
    for name in ("sbatch", "submitit", "ignored"):
        (folder / name).mkdir()
    sweeps = {
        "sbatch": a_sweep(slurm, folder / "sbatch"),
        "submitit": a_submitit_sweep(slurm, folder / "submitit"),
        "ignored": a_sweep(slurm, folder / "ignored"),
    }
    for name in ("sbatch", "submitit"):
        # the warning must not be due as the run starts
        sweeps[name].study(time_limit_min=2, repeats=1, preprocess=[])
        sweeps[name].site(warning_s=58)
        sweeps[name].behave(train="stop")
    sweeps["ignored"].study(time_limit_min=1, repeats=1, train=[])
    sweeps["ignored"].behave(preprocess="sleep")
    with ExitStack() as stack:
        started = {}
        for name, sweep in sweeps.items():
            argv = sweep.argv(*(SUBMITIT if name == "submitit" else ()), "--wait")
            started[name] = stack.enter_context(
                subprocess.Popen(argv, env=slurm.env, cwd=REPOSITORY, text=True,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            )  # fmt: skip
            stack.callback(started[name].kill)
        yield {name: (sweep, started[name]) for name, sweep in sweeps.items()}


def ended(waiting: Waiting, name: str, code: int = 0) -> Sweep:
    """The sweep, once its jobs have ended, with the exit code ``code``."""
    sweep, process = waiting[name]
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    return sweep


@pytest.mark.parametrize("executor", ["sbatch", "submitit"])
def test_a_run_that_nears_its_time_limit_stops_requeues_and_resumes(
    executor: str, waiting: Waiting
) -> None:
    sweep = ended(waiting, executor)
    job = sweep.ended("train-*-r0-*")
    assert (job["status"], job["restarts"]) == ("ok", 1)
    assert sweep.record("train-*-r0-*")["provenance"]["restarts"] == 1
    assert sweep.starts() == 3


def test_a_run_that_ignores_its_time_limit_is_a_timeout(waiting: Waiting) -> None:
    sweep = ended(waiting, "ignored", code=1)
    record = sweep.record("preprocess-*")
    assert record["status"] == "timeout"
    assert "TIMEOUT" in record["reason"]
    assert sweep.ended("preprocess-*")["status"] == "timeout"
