"""The testbed itself: up, down, faults, and scheduling."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import TESTBED, Slurm, a_slurm

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]


@pytest.fixture(scope="module")
def bed() -> Iterator[Slurm]:
    # Its own, because its daemons are killed: the other tests' Slurm stays untouched.
    with a_slurm() as testbed:
        yield testbed


def processes_of(state: Path) -> list[str]:
    """Return what runs with this testbed's slurm.conf in its environment."""
    mark = f"SLURM_CONF={state}/slurm.conf".encode()
    commands = []
    for process in Path("/proc").iterdir():
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                commands.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # not a process, not ours, or gone
            continue
    return commands


def pid_of(bed: Slurm, daemon: str) -> int:
    pids = [entry["pid"] for entry in bed.status()["daemons"] if entry["name"] == daemon]
    assert len(pids) == 1
    assert isinstance(pids[0], int)
    return pids[0]


def wait_for_state(bed: Slurm, job: str, states: set[str], timeout_s: float = 30) -> str:
    """Wait until accounting shows a job in one of these states; return what it shows."""
    deadline = time.monotonic() + timeout_s
    state = ""
    while time.monotonic() < deadline:
        column = bed.run(["sacct", "-n", "-X", "-P", "-j", job, "-o", "state"]).stdout.split()
        state = column[0] if column else ""
        if state in states:
            break
        time.sleep(0.3)
    return state


def submit(bed: Slurm, script: str, *options: str) -> str:
    done = bed.run(["sbatch", "--parsable", *options, f"--wrap={script}"], cwd=bed.state)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_status_lists_daemons_and_nodes(bed: Slurm) -> None:
    printed = bed.testbed("status")
    assert printed.returncode == 0
    assert "slurmctld" in printed.stdout
    status = bed.status()
    assert status["up"] is True
    assert status["slurm_conf"] == bed.env["SLURM_CONF"]
    assert [daemon["name"] for daemon in status["daemons"]] == [
        "munged",
        "mariadbd",
        "slurmdbd",
        "slurmctld",
        "slurmd-node1",
        "slurmd-node2",
    ]
    assert [(node["name"], node["cpus"], node["gpus"]) for node in status["nodes"]] == [
        ("node1", 16, 4),
        ("node2", 16, 4),
    ]


def test_second_up_changes_nothing(bed: Slurm) -> None:
    before = bed.status()["daemons"]
    again = bed.testbed("up")
    assert again.returncode == 0
    assert "already up" in again.stdout
    assert f"export SLURM_CONF={bed.env['SLURM_CONF']}" in again.stdout
    assert bed.status()["daemons"] == before


def test_up_refuses_another_shape_while_up(bed: Slurm) -> None:
    other = bed.testbed("up", "--nodes", "3")
    assert other.returncode == 2
    assert "nodes=2" in other.stderr
    assert bed.status()["up"] is True


def test_step_runs_on_both_nodes(bed: Slurm) -> None:
    done = bed.run(["srun", "-N2", "-n2", "sh", "-c", "echo $SLURMD_NODENAME"])
    assert sorted(done.stdout.split()) == ["node1", "node2"]


def test_gpus_are_allocated(bed: Slurm) -> None:
    command = ["srun", "-p", "gpu", "--gres=gpu:2", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    assert bed.run(command).stdout.strip() == "0,1"
    assert bed.run(["srun", "--gres=gpu:5", "true"]).returncode != 0


def test_accounting_knows_the_end_of_an_array(bed: Slurm) -> None:
    job = submit(bed, 'test "$SLURM_ARRAY_TASK_ID" != 2', "--array=0-2", "--output=/dev/null")
    assert wait_for_state(bed, f"{job}_2", {"FAILED"}) == "FAILED"
    assert wait_for_state(bed, f"{job}_0", {"COMPLETED"}) == "COMPLETED"


def test_a_requeued_job_starts_again_soon(bed: Slurm) -> None:
    script = '[ -n "$SLURM_RESTART_COUNT" ] || { scontrol requeue "$SLURM_JOB_ID"; sleep 60; }'
    job = submit(bed, script, "--output=/dev/null")
    assert wait_for_state(bed, job, {"COMPLETED"}) == "COMPLETED"


def test_a_killed_node_ends_its_jobs_and_can_be_started(bed: Slurm) -> None:
    submit(bed, "sleep 3217", "--nodelist=node2", "--no-requeue", "--output=/dev/null")
    deadline = time.monotonic() + 15
    while not any("3217" in command for command in processes_of(bed.state)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert bed.testbed("kill-node", "node2").returncode == 0
    assert not any("3217" in command for command in processes_of(bed.state))
    assert bed.testbed("status").returncode == 1
    assert bed.testbed("start-node", "node2").returncode == 0
    assert bed.testbed("status").returncode == 0
    assert bed.testbed("kill-node", "node9").returncode == 2


def test_controller_killed_then_up_keeps_the_queue(bed: Slurm) -> None:
    job = submit(bed, "true", "--hold", "--output=/dev/null")
    assert bed.testbed("restart-controller").returncode == 0  # which saves the queue
    old = pid_of(bed, "slurmctld")
    os.kill(old, signal.SIGKILL)
    assert bed.testbed("status").returncode == 1
    up = bed.testbed("up")
    assert up.returncode == 0, up.stderr
    assert pid_of(bed, "slurmctld") != old
    assert bed.run(["squeue", "-h", "-j", job, "-o", "%T"]).stdout.strip() == "PENDING"
    bed.run(["scancel", job])


def test_accounting_stops_and_starts(bed: Slurm) -> None:
    assert bed.testbed("stop-accounting").returncode == 0
    assert bed.run(["sacct", "-n"]).stdout == ""
    assert bed.testbed("start-accounting").returncode == 0
    assert bed.run(["sacct", "-n", "-X"]).returncode == 0


def test_everything_killed_then_up_then_down_leaves_no_process(bed: Slurm) -> None:
    submit(bed, "sleep 3218", "--output=/dev/null")
    for daemon in bed.status()["daemons"]:
        os.kill(daemon["pid"], signal.SIGKILL)
    up = bed.testbed("up")
    assert up.returncode == 0, up.stderr
    assert bed.run(["srun", "-N2", "true"]).returncode == 0
    job = submit(bed, "sleep 3219", "--output=/dev/null")
    assert wait_for_state(bed, job, {"RUNNING"}) == "RUNNING"

    assert bed.testbed("down").returncode == 0
    assert processes_of(bed.state) == []
    assert bed.testbed("status").returncode == 1
    again = bed.testbed("down")
    assert again.returncode == 0
    assert "was not up" in again.stdout


def test_without_accounting_and_with_another_shape() -> None:
    with a_slurm("--no-accounting", "--nodes", "1", "--gpus", "0", "--cpus", "2") as small:
        status = small.status()
        assert status["accounting"] is False
        assert [daemon["name"] for daemon in status["daemons"]] == [
            "munged",
            "slurmctld",
            "slurmd-node1",
        ]
        assert small.run(["srun", "-c2", "true"]).returncode == 0
        assert small.run(["sacct"]).returncode != 0
        state = small.state
    assert processes_of(state) == []
    assert not state.exists()


def test_wrong_input_is_one_line_and_exit_2(tmp_path: Path) -> None:
    for options in (["--nodes", "0"], ["--state", str(tmp_path / "with blank")]):
        command = [str(TESTBED.parent / "up"), "--state", str(tmp_path / "state"), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
