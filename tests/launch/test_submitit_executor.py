"""The submitit executor without Slurm: submitit's parameters, and its job on the node."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weather_hpc.errors import UserError
from weather_hpc.launch.submitit_executor import SubmititExecutor, SubmititRun, parameters
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import JobOption, shape_of
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile, SlurmSite
from weather_hpc.sweep import __main__ as sweep
from weather_hpc.sweep.run import scripts

SITE = SiteProfile(
    name="big",
    python="/env/bin/python",
    modules=["cuda"],
    setup=["ulimit -n 4096"],
    slurm=SlurmSite(
        gpu_partition="gpu",
        account="x-1",
        exclusive=True,
        requeue=False,
        gpu_type="a100",
        max_running=3,
        extra_directives=["--mail-type=FAIL"],
    ),
)


@pytest.fixture
def plan() -> Plan:
    return make_plan(load_study("paper"), "/images")


def test_submitit_gets_the_options_of_sbatch(plan: Plan) -> None:
    spec = next(s for s in plan.runs if s.run_id.startswith("train-ddp-cuda-w4"))
    shape = shape_of(spec, SITE.slurm)
    values = parameters(shape, 12, "whpc-paper-t", [JobOption("dependency", "afterok:7")], SITE)
    assert values == {
        "time": 120,
        "use_srun": False,
        "setup": ["module load cuda", "ulimit -n 4096", "export SUBMITIT_PREEMPT_SIGNAL=USR2"],
        "additional_parameters": {
            "job_name": "whpc-paper-t",
            "partition": "gpu",
            "account": "x-1",
            "nodes": "1",
            "ntasks_per_node": "1",
            "cpus_per_task": "8",
            "time": "120",
            "signal": "B:USR2@120",
            "gres": "gpu:a100:4",
            "exclusive": True,
            "no_requeue": True,
            "mail_type": "FAIL",
            "dependency": "afterok:7",
            "array": "0-11%3",
        },
    }


def test_an_oversubscribed_run_asks_for_the_cpus_of_the_largest_node(plan: Plan) -> None:
    spec = next(s for s in plan.runs if s.run_id.startswith("preprocess-multiprocessing-w8"))
    allowed = spec.resources.model_copy(update={"oversubscribe": True})
    fewer = spec.model_copy(update={"resources": allowed}).within(6)
    options = parameters(shape_of(fewer, SITE.slurm), 3, "n", [], SITE)["additional_parameters"]
    assert options["cpus_per_task"] == "6"
    paths = StudyPaths(Path("/r"))
    for executor in ("submitit", "slurm"):
        array, script = scripts(executor, plan, [fewer], paths, SITE)
        assert "8" not in [line.split("=")[-1] for line in array.text.splitlines()]
        assert "--cpus-per-task=6" in script.text
        assert script.run_id == spec.run_id
        assert "--workers 8" in script.text


def test_a_dry_run_shows_scripts_without_requeue(plan: Plan) -> None:
    specs = [s for s in plan.runs if s.run_id.startswith("train-dp-")][:2]
    array, *runs = scripts("submitit", plan, specs, StudyPaths(Path("/r")), SiteProfile())
    assert json.loads(array.text)["additional_parameters"]["array"] == "0-1"
    assert len(runs) == 2
    assert not any("scontrol requeue" in run.text for run in runs)
    on_sbatch = scripts("slurm", plan, specs, StudyPaths(Path("/r")), SiteProfile())
    assert any("scontrol requeue" in run.text for run in on_sbatch)


def test_missing_submitit_and_percent_signs_are_errors(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="reads % as a pattern"):
        SubmititExecutor(plan, StudyPaths(tmp_path / "100%"), SITE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'weather_hpc\[submitit\]'"):
        SubmititExecutor(plan, StudyPaths(tmp_path), SITE)


def test_every_executor_can_be_named() -> None:
    from weather_hpc.launch.executors import EXECUTORS

    assert set(sweep.EXECUTORS) == {"auto", *EXECUTORS}


def start(
    folder: Path, script: str, requeues: int = 1, before: str = "", **env: str
) -> "subprocess.Popen[str]":
    """A process that does what submitit does on a node: call the function, checkpoint at USR2.

    ``before``: Python code that it runs just before it calls the function.
    """
    (folder / "run.sh").write_text(script)
    code = f"""
import signal, sys
from weather_hpc.launch.submitit_executor import SubmititRun
job = SubmititRun({str(folder / "run.sh")!r}, {requeues})
def handler(*_):
    again = job.checkpoint()
    print("again", again.function.script == job.script, again.function.pid)
    sys.exit(0)
signal.signal(signal.SIGUSR2, handler)
{before}
job()
print("ran to its end")
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **env}, text=True, stdout=subprocess.PIPE
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_scripts_exit_code_is_the_jobs(tmp_path: Path) -> None:
    done = start(tmp_path, "exit 0")
    assert (done.communicate()[0], done.returncode) == ("ran to its end\n", 0)
    done = start(tmp_path, "exit 3")
    assert (done.communicate()[0], done.returncode) == ("", 3)


STOPPABLE = """
trap 'echo stopped; exit {code}' {signal}
touch {ready}
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("code", "restarts", "output", "exit_code"),
    [
        (75, "0", "stopped\nagain True None\n", 0),
        (75, "1", "stopped\n", 75),  # requeued as often as it may be
        (0, "0", "stopped\n", 0),  # had finished meanwhile
        (9, "0", "stopped\n", 9),
    ],
)
def test_the_warning_stops_and_requeues_the_run(
    tmp_path: Path, code: int, restarts: str, output: str, exit_code: int
) -> None:
    ready = tmp_path / "ready"
    script = STOPPABLE.format(code=code, signal="USR1", ready=ready)
    job = start(tmp_path, script, SLURM_RESTART_COUNT=restarts)
    wait_for(ready)
    job.send_signal(signal.SIGUSR2)
    assert (job.communicate()[0], job.returncode) == (output, exit_code)


def test_a_warning_that_another_thread_receives_stops_the_run(tmp_path: Path) -> None:
    """As a thread of a library does where Slurm sends CONT at the same moment."""
    ready, take = tmp_path / "ready", tmp_path / "take"
    thread = f"""
import pathlib, threading, time
def take_the_warning():
    while not pathlib.Path({str(take)!r}).exists():
        time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
    time.sleep(600)
threading.Thread(target=take_the_warning, daemon=True).start()
"""
    script = STOPPABLE.format(code=75, signal="USR1", ready=ready)
    job = start(tmp_path, script, before=thread, SLURM_RESTART_COUNT="0")
    wait_for(ready)
    take.touch()
    assert job.communicate(timeout=60)[0] == "stopped\nagain True None\n"


def test_a_term_reaches_the_script(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    job = start(tmp_path, STOPPABLE.format(code=75, signal="TERM", ready=ready))
    wait_for(ready)
    job.send_signal(signal.SIGTERM)
    assert (job.communicate()[0], job.returncode) == ("stopped\n", 75)


def test_a_job_that_has_not_started_its_script_is_requeued() -> None:
    assert SubmititRun("run.sh", 1).checkpoint().function == SubmititRun("run.sh", 1)
