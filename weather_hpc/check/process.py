"""Processes that checks start, which leave none behind where they take too long."""

import subprocess
from collections.abc import Mapping, Sequence

from weather_hpc.errors import FailedError
from weather_hpc.runs.proc import kill_family


def finished(
    argv: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> "subprocess.CompletedProcess[str]":
    """``argv`` run to its end, with what it has printed. Raises FailedError after ``limit_s``.

    All that it has started is then ended, too: torchrun's ranks have sessions of their own, and one
    that waits for another under NCCL would hold its GPU for minutes.
    """
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except BaseException as error:
            kill_family(process.pid)
            _, stderr = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            told = f", and said: {last_words(stderr)}" if stderr.strip() else ""
            raise FailedError(f"did not end within {limit_s:.0f} s{told}") from None
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def last_words(text: str, count: int = 40) -> str:
    """The end of what a process has printed, in one line."""
    return " ".join(text.split()[-count:])
