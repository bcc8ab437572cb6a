"""The line of a log that says why a program failed: logs as programs and Slurm leave them."""

from pathlib import Path

import pytest

from weather_hpc.runs.ending import ended_by, exit_text, from_logs, with_log, without_log
from weather_hpc.runs.error_line import LAST_BYTES, error_line

TORCHRUN = """\
W1128 10:00:01.000000 4242 torch/distributed/run.py:803] *****************************************
W1128 10:00:01.000000 4242 torch/distributed/run.py:803] Setting OMP_NUM_THREADS environment
{ranks}
W1128 10:00:09.100000 4242 torch/distributed/elastic/multiprocessing/api.py:908] Sending process \
4250 closing signal SIGTERM
E1128 10:00:09.300000 4242 torch/distributed/elastic/multiprocessing/api.py:882] failed \
(exitcode: {code}) local_rank: 1 (pid: 4251) of binary: /env/bin/python
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/env/lib/torch/distributed/run.py", line 936, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:{space}
============================================================
weather_hpc.train FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-28_10:00:09
  host      : node1
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 4251)
  error_file: <N/A>
  traceback : {traceback}
============================================================
srun: error: node1: task 0: Exited with exit code 1
"""

TWO_RANKS = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "/home/u/model.py", line 7, in forward
[rank1]:     return self.fc(x)
[rank1]:            ^^^^^^^^^^
[rank1]: RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x512 and 256x11)
[rank0]: Traceback (most recent call last):
[rank0]:   File "/home/u/ddp.py", line 9, in step
[rank0]: RuntimeError: [../third_party/gloo/pair.cc:534] Connection closed by peer [10.0.0.2]:4711
[rank0]:[W1128 10:00:08.90 ProcessGroupNCCL.cpp:1250] Warning: WARNING: destroy_process_group() \
was not called before program exit"""

CUDA = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
torch.AcceleratorError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.

/usr/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There
  warnings.warn('resource_tracker: There appear to be %d '
"""

CHAINED = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
FileNotFoundError: [Errno 2] No such file or directory: '/scratch/store'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
weather_hpc.errors.UserError: no store /scratch/store
"""

FAULT = """\
Fatal Python error: Segmentation fault

Current thread 0x00007f0000000740 (most recent call first):
  File "/home/u/a.py", line 3 in <module>

Extension modules: numpy._core._multiarray_umath, torch._C (total: 31)
/r/jobs/x.sh: line 24:  4242 Segmentation fault      (core dumped) python -m weather_hpc.train
"""

OOM_KILL = """\
Traceback (most recent call last):
  File "loader.py", line 3, in get
RuntimeError: DataLoader worker (pid 4250) is killed by signal: Killed.
slurmstepd-node1: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have \
been OOM Killed.
srun: error: node1: task 0: Out Of Memory
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            TORCHRUN.format(ranks=TWO_RANKS, code=1, traceback="To enable it see", space=" "),
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x512 and 256x11)",
        ),
        (
            TORCHRUN.format(
                ranks="train: no store /scratch/s; expected a folder made by preprocess",
                code=2, traceback="To enable it see", space=" ",
            ),
            "train: no store /scratch/s; expected a folder made by preprocess",
        ),
        (
            TORCHRUN.format(
                ranks="epoch 1 of 3", code=-9,
                traceback="Signal 9 (SIGKILL) received by PID 4251", space=" ",
            ),
            "Signal 9 (SIGKILL) received by PID 4251",
        ),
        (CUDA, "torch.AcceleratorError: CUDA error: device-side assert triggered"),
        (CHAINED, "weather_hpc.errors.UserError: no store /scratch/store"),
        (FAULT, "Fatal Python error: Segmentation fault"),
        (
            OOM_KILL,
            ("slurmstepd-node1: error: Detected 1 oom_kill event in StepId=12.0. Some of the step "
            "tasks have been OOM Killed."),
        ),
        (
            ("epoch 3\nslurmstepd: error: *** STEP 12.0 ON node1 CANCELLED AT 2026-11-28T10:00:00 "
            "DUE TO TIME LIMIT ***\nsrun: error: node1: task 0: Terminated\n"),
            ("slurmstepd: error: *** STEP 12.0 ON node1 CANCELLED AT 2026-11-28T10:00:00 "
            "DUE TO TIME LIMIT ***"),
        ),
        (
            ("slurmstepd: error: execve(): /no/python: No such file or directory\n"
            "srun: error: node2: task 0: Exited with exit code 2\n"),
            "slurmstepd: error: execve(): /no/python: No such file or directory",
        ),
        (
            ("/var/spool/slurmd/job12/slurm_script: line 11: module: command not found\n"
            "reading 22 images\n"),
            "/var/spool/slurmd/job12/slurm_script: line 11: module: command not found",
        ),
        (
            ("terminate called after throwing an instance of 'std::runtime_error'\n"
            "  what():  no device\n/r/x.sh: line 9: 12 Aborted  (core dumped) python a.py\n"),
            "what():  no device",
        ),
        ("srun: error: node1: task 3: Killed\nsrun: Terminating StepId=9.0\n",
         "srun: error: node1: task 3: Killed"),
        ("OSError: no luck\nsrun: error: node1: task 0: Killed\nsrun: Force Terminated StepId=9\n",
         "OSError: no luck"),
        ("srun: error: node1: tasks 0-3: Exited with exit code 1\n",
         "srun: error: node1: tasks 0-3: Exited with exit code 1"),
        ("half way\rdone 40 %\rdone 41 %", "done 41 %"),
        ("Traceback (most recent call last):\n  File \"a.py\", line 1\n", "File \"a.py\", line 1"),
        ("x" * 400, "x" * 300 + "..."),
        ("", ""),
        ("\n \n", ""),
    ],
    ids=str.split("table verb killed cuda chained fault oom limit execve module c++ srun "
                  "killed_by_srun exit progress cut long empty blank"),
)  # fmt: skip
def test_the_line_that_says_why(text: str, line: str) -> None:
    assert error_line(text) == line


def test_of_several_logs_the_first_that_holds_anything(tmp_path: Path) -> None:
    stderr, log = tmp_path / "stderr.log", tmp_path / "12_3.log"
    assert from_logs([stderr, log, tmp_path]) == ""
    log.write_bytes(b"x.sh: line 3: python: command not found\n")
    stderr.touch()
    assert from_logs([stderr, log]) == f": x.sh: line 3: python: command not found (see {log})"
    stderr.write_bytes(b"e" * LAST_BYTES + b"\nOSError: \xff\n")
    assert from_logs([stderr, log]) == rf": OSError: \xff (see {stderr})"
    assert with_log("no luck", stderr) == f"no luck (see {stderr})"
    assert with_log("no luck (see a)", stderr) == "no luck (see a)"
    assert with_log("no luck", tmp_path / "none") == "no luck"
    assert without_log(with_log("no luck (again)", stderr)) == "no luck (again)"
    assert without_log("no luck (again)") == "no luck (again)"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "exit code 1"),
        (143, "killed by SIGTERM (exit code 143)"),
        (137, "killed by SIGKILL (exit code 137, perhaps out of memory)"),
        (-9, "killed by SIGKILL (exit code 137, perhaps out of memory)"),
        (-11, "killed by SIGSEGV (exit code 139)"),
        (255, "exit code 255"),
    ],
)
def test_exit_codes_in_words(code: int, text: str) -> None:
    assert exit_text(code) == text


@pytest.mark.parametrize(
    ("code", "number", "text"),
    [
        (0, None, ""),
        (None, None, ""),
        (1, None, "exit code 1"),
        (0, 9, "killed by SIGKILL"),
        (137, None, "killed by SIGKILL (exit code 137, perhaps out of memory)"),
        (0, 125, ""),  # Slurm's own number for a lack of memory
    ],
)
def test_what_slurm_reports_of_an_end(code: int | None, number: int | None, text: str) -> None:
    assert ended_by(code, number) == text
