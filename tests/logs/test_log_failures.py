"""How a run ended: what schedulers, launchers, PyTorch and shells print, and what resembles it."""

from pathlib import Path

import pytest

from tests.logs.maker import epoch_line, read_lines
from weather_hpc.logs.failures import (
    _START,
    _WITHIN,
    FAILURES,
    FailureLine,
    failure_in,
    judge_failure,
)
from weather_hpc.logs.lines import UnmatchedShapes
from weather_hpc.runs.record import Status

ENDS = """
timeout|slurmstepd: error: *** JOB 14309850 CANCELLED AT 2015-06-30T04:08:07 DUE TO TIME LIMIT on c1 ***
timeout|slurmstepd-c117: error: *** STEP 7128.61 ON c117 CANCELLED AT 2026-04-06T08:17:04 DUE TO TIME LIMIT ***
timeout|Epoch 3:  45%|##5  | 723/1602 [2:12:45<2:59:53, 12.28s/it, loss=0.3][2026-03-25T10:34:07.530] error: *** JOB 1 ON n1 CANCELLED AT 2026-03-25T10:34:07 DUE TO TIME LIMIT ***
timeout|=>> PBS: job killed: cput 7230 exceeded limit 7200
preempted|45%|##5  | 723/1602 [2:12:45<2:59:53, 12.28s/it][2026-03-25T10:34:07.530] error: *** STEP 1.0 ON n1 CANCELLED AT 2026-03-25T10:34:07 DUE TO PREEMPTION ***
cancelled|Aligning (...) ETA: 14sslurmstepd: error: *** STEP 20404816.0 ON n0030 CANCELLED AT 2024-08-09T16:57:38 ***
cancelled|slurmstepd: error: *** STEP 12.0 ON n1 CANCELLED AT 2023-01-01T00:00:00 DUE to SIGNAL Terminated ***
cancelled|slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2023-01-01T00:00:00 DUE TO JOB REQUEUE ***
cancelled|TERM_OWNER: job killed by owner.
out_of_memory|slurmstepd: error: Step 1594750.0 exceeded memory limit (6776728 > 6291456), being killed
out_of_memory|slurmstepd: error: StepId=39.batch exceeded memory limit (6526939136 > 4294967296), being killed
out_of_memory|Some of the step tasks have been OOM Killed.
out_of_memory|3: srun: error: node07: task 3: Out Of Memory
out_of_memory|[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.
out_of_memory|terminate called after throwing an instance of 'std::bad_alloc'
out_of_memory|RuntimeError: [enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory
out_of_memory|tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor
out_of_memory|[12345.678] Memory cgroup out of memory: Killed process 42 (python)
node_fail|srun: error: NODE_FAIL
node_fail|srun: error: Nodes n1 are still not ready
failed|slurmstepd: error: *** JOB 12 ON n1 FAILED (non-zero exit code or other failure mode) ***
failed|srun: error: n157: tasks 38,40,42-44: Bus error (core dumped)
failed|[E ProcessGroupNCCL.cpp:828] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(OpType=ALLREDUCE)
failed|torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
failed|ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -6) local_rank: 0 (pid: 517)
failed|prterun noticed that process rank 0 with PID 1 on node n1 exited on signal 11 (Segmentation fault).
failed|=   KILLED BY SIGNAL: 9 (Killed)
failed|bash: line 1: 4242 Killed                  python a.py
failed|Bus error (core dumped)
failed|[n1:4242:0:4242] Caught signal 11 (Segmentation fault: address not mapped to object)
failed|RuntimeError: DataLoader worker (pid 103) is killed by signal: Killed.
failed|RuntimeError: DataLoader worker (pid 1) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.
failed|[rank5]:[E1230 17:23:36.183261415 ProcessGroupNCCL.cpp:1595] [PG ID 0 PG GUID 0(default_pg) Rank 5] Process group watchdog thread terminated with exception: [Rank 5] Watchdog caught collective operation timeout
failed|[2023-04-26 12:00:00,123] [ERROR] [launch.py:321:sigkill_handler] ['/usr/bin/python', '-u', 'a.py', '--local_rank=0'] exits with return code = -9
failed|[rank: 1] Child process with PID 123 terminated with code 1. Forcefully terminating all other processes
failed|ray.exceptions.RayTaskError(ValueError): ray::train() (pid=7, ip=10.0.0.1)
failed|Command terminated by signal 9
failed|FATAL:   container creation failed: mount error
out_of_memory|Reason: OOMKilled
failed|KeyError: 0
failed|binascii.Error: Incorrect padding
failed|pyarrow.lib.ArrowInvalid: Column 1
failed|2023-05-01 12:00:00,123 - train - ERROR - ValueError: bad
failed|train.py: error: unrecognized arguments: --foo
cancelled|srun: forcing job termination
failed|srun: First task exited 60s ago
failed|srun: launch/slurm: _step_signal: Terminating StepId=41.0
failed|User defined signal 2
out_of_memory|PBS: job killed: vmem 92954931200 exceeded limit 86973087744
timeout|job 123 exceeded hard wallclock time - initiate terminate method
failed|failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit
out_of_memory|State: OUT_OF_MEMORY (exit code 0)
timeout|4411            TIMEOUT   01:00:12               0:0
""".strip().splitlines()  # noqa: E501

ORDINARY = """
error: 0.23
Error rate: 3.2
Error: 0.23
Class timeout: 0.5
MeanSquaredError: 0.0123 - MeanAbsoluteError: 0.3
val_error: 12.3
Top-1 error: 23.4 Top-5 error: 7.1
2023-05-01 12:00:00,123 Timeout: None
killed by nobody today
Terminated early: patience 10
out of memory is what we test
CUDA out of memory errors: 0
State: COMPLETED (exit code 0)
salloc: Relinquishing job allocation 41
srun: job 61004969 has been allocated resources
srun: warning: can't run 1 processes on 2 nodes, setting nnodes to 1
CommandNotFoundError: Your shell has not been properly configured to use 'conda activate'.
UserWarning: The given NumPy array is not writable
*** STEP 100: loss 0.5
*** JOB 41 started ***
TERM_PROGRAM: tmux
""".strip().splitlines()


def _judged(*lines: str) -> FailureLine:
    judged = None
    for line in lines:
        if (found := failure_in(line.encode())) is not None:
            judged = judge_failure(found, judged)
    assert judged is not None
    return judged


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_each_kind_of_failure_is_that_of_its_examples(number: int) -> None:
    status, _, examples = FAILURES[number]
    for example in examples:
        judged = _judged(example.decode())
        assert (judged.status, judged.telling) == (status, number), example


@pytest.mark.parametrize("end", ENDS)
def test_what_is_printed_at_a_jobs_end(end: str) -> None:
    status, line = end.split("|", 1)
    assert _judged(line).status == status


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_reports_no_failure(line: str) -> None:
    assert failure_in(line.encode()) is None


def test_digits_do_not_matter_to_failures() -> None:
    table = UnmatchedShapes(_START + b" " + _WITHIN).table
    assert len({table[digit] for digit in b"0123456789"}) == 1


@pytest.mark.parametrize(
    ("lines", "status", "told"),
    [
        # the time limit, and what dies of it
        (["srun: Job step aborted: Waiting up to 32 seconds for job step to finish.",
          ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-04-06T08:17:04 DUE TO TIME "
          "LIMIT ***"), "srun: error: n1: task 0: Terminated", "KeyboardInterrupt"],
         "timeout", "slurmstepd: error: *** STEP 7.0"),
        # a task that fails has its step cancelled
        (["srun: error: n1: task 3: Exited with exit code 1", "srun: Terminating StepId=7.0",
          "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2023-12-12T17:52:24 ***",
          "srun: error: n1: tasks 0-2: Terminated"],
         "failed", "srun: error: n1: task 3: Exited"),
        (["Traceback (most recent call last):", "FileExistsError: [Errno 17] File exists: 'a'",
          "srun: error: n1: task 3: Exited with exit code 1",
          "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2023-12-12T17:52:24 ***"],
         "failed", "FileExistsError"),
        # scancel
        (["slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2023-05-01T12:00:00 ***",
          "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2023-05-01T12:00:00 ***",
          "Traceback (most recent call last):",
          "torch.distributed.SignalException: Process 5 got signal: 15"],
         "cancelled", "slurmstepd: error: *** JOB 7"),
        # memory, told after the death of the process
        (["slurm_script: line 16: 723537 Killed                  python a.py",
          ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks "
          "have been OOM Killed."), "srun: error: n1: task 0: Out Of Memory"],
         "out_of_memory", "slurmstepd: error: Detected 1 oom_kill"),
        # torchrun names the rank that failed first at the end
        (["E0813 22:08:39.893000 2585 torch/api.py:869] failed (exitcode: -9) local_rank: 0",
          "Traceback (most recent call last):",
          "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
          "  traceback : Signal 15 (SIGTERM) received by PID 2",
          "  traceback : Signal 9 (SIGKILL) received by PID 1"],
         "failed", "traceback : Signal 9"),
        (["Exited with exit code 140.", "TERM_RUNLIMIT: job killed after reaching the limit."],
         "timeout", "TERM_RUNLIMIT"),
    ],
    ids=["time-limit", "task", "exception", "scancel", "memory", "torchrun", "lsf"],
)  # fmt: skip
def test_the_most_telling_line_is_the_reason(lines: list[str], status: str, told: str) -> None:
    judged = _judged(*lines)
    assert judged.status == status
    assert judged.line.startswith(told)


@pytest.mark.parametrize(
    ("line", "job_id"),
    [
        ("slurmstepd: error: *** STEP 41.0 ON n1 CANCELLED AT 2023-05-01T12:00 ***", "41"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=42.batch.", "42"),
        ("slurmstepd: error: Job 43 exceeded memory limit (9 > 8), being killed", "43"),
        ("salloc: Job allocation 44 has been revoked.", "44"),
        ("Subject: Job 45: <train> in cluster <lsf1> Exited", "45"),
        ("RuntimeError: job 3 of 4 has failed", None),
    ],
)
def test_the_job_is_named_by_its_scheduler(line: str, job_id: str | None) -> None:
    assert _judged(line).job_id == job_id


def test_how_far_a_run_came_is_part_of_the_reason(tmp_path: Path) -> None:
    lines = [f"Epoch {e}/20 - loss: 0.{99 - e} - acc: 0.5 - 22s" for e in range(1, 15)]
    lines.append("[2026-01-25T14:35:32.113] error: *** JOB 4151016 ON node11 CANCELLED AT "
                 "2026-01-25T14:35:32 DUE TO TIME LIMIT ***")  # fmt: skip
    row = read_lines(tmp_path, lines, "ddp_4gpu_bs64.log").row
    assert (row.status, row.slurm_job_id) == ("timeout", "4151016")
    assert (row.reason or "").startswith("no total in the log, 14 of 20 epochs: *** JOB 4151016")


def test_a_failure_before_further_epochs_did_not_end_the_run(tmp_path: Path) -> None:
    epochs = [epoch_line(0, epoch) for epoch in range(9)]
    caught = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"
    lines = [*epochs[:4], caught, *epochs[4:], "ValueError: bad shape"]
    row = read_lines(tmp_path, lines, "ddp_1gpu_bs64.log").row
    assert (row.status, row.reason) == (Status.FAILED, "no total in the log: ValueError: bad shape")


REPORT = [
    "Subject: Job 813: <train> in cluster <c1> Exited",
    "TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
    "Exited with exit code 140.",
    "    CPU time :                                   170.19 sec.",
    "    Run time :                                   3600 sec.",
]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (REPORT, "timeout"),
        (["bash: line 1: 42 Killed    python a.py", "real\t8m31.2s"], "failed"),
        (["Command exited with non-zero status 1", "63.1user 5.0system 8:31.20elapsed"], "failed"),
    ],
)
def test_the_time_of_a_process_that_was_ended_is_no_total(
    tmp_path: Path, end: list[str], status: str
) -> None:
    lines = [f"Epoch {e}/20 - loss: 0.{99 - e} - acc: 0.5 - 22s" for e in range(1, 15)]
    row = read_lines(tmp_path, [*lines, *end], "ddp_1gpu_bs64.log").row
    assert (row.status, row.table) == (status, None)
    assert (row.reason or "").startswith("no total in the log, 14 of 20 epochs")
    whole = [*lines, *(f"Epoch {e}/20 - loss: 0.5 - 22s" for e in range(15, 21)), end[-1]]
    assert read_lines(tmp_path, whole, "ddp_1gpu_bs64.log").row.table == "training"
