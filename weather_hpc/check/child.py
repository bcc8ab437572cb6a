"""A process that a check starts: when its time is up, nothing of it is left computing."""

import subprocess
from collections.abc import Mapping, Sequence

from weather_hpc.errors import FailedError
from weather_hpc.records.proc import kill_family


def run(
    argv: Sequence[str], environment: Mapping[str, str], within_s: float
) -> "subprocess.CompletedProcess[str]":
    """What ``argv`` has printed, and its exit code.

    Raises FailedError where it is not over ``within_s`` seconds later: it is then ended, and so are
    all that it has started, whose sessions may be their own.
    """
    process = subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    try:
        printed, told = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        raise FailedError(f"not over after {within_s:.0f} s") from None
    finally:
        if process.poll() is None:
            kill_family(process.pid)
            process.communicate()
    return subprocess.CompletedProcess(argv, process.returncode, printed, told)
