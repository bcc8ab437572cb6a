"""Programs of Python that start at once: forks of a process that has imported torch.

For tests of what ranks compute. Of torchrun and its ranks everything else is as it always is; those
that are about processes themselves (which are killed, say) start real ones.
"""

import faulthandler
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

import pytest

CONTEXT = multiprocessing.get_context("forkserver")

IMPORTED = ["torch", "torch._dynamo", "torch.distributed.run", "weather_hpc.train.process",
            "weather_hpc.train.store_server", "weather_hpc.train.strategies", __name__]  # fmt: skip
"""What takes torchrun and ranks their time to start."""


class Streams:
    """Descriptors that the other process gets too."""

    def __init__(self, *descriptors: int) -> None:
        self.descriptors = descriptors

    def __reduce__(self) -> Any:
        return _received, tuple(map(DupFd, self.descriptors))


def _received(*duplicates: Any) -> Streams:
    return Streams(*(duplicate.detach() for duplicate in duplicates))


class Forked:
    """Of :class:`subprocess.Popen`, what torchrun and the tests use."""

    def __init__(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
        start_new_session: bool = True,
    ) -> None:
        assert args[0] == sys.executable
        assert start_new_session
        streams = Streams(stdout.fileno() if stdout else 1, stderr.fileno() if stderr else 2)
        with pytest.MonkeyPatch.context() as patch:  # OpenMP reads it when it is loaded
            patch.setenv("OMP_NUM_THREADS", "1")
            CONTEXT.set_forkserver_preload(IMPORTED)
            multiprocessing.forkserver.ensure_running()
        command = [word for word in args[1:] if word != "-u"]
        self._process = CONTEXT.Process(
            target=_program, args=(command, dict(env), streams, str(Path.cwd()))
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0)
        return code


def _program(
    command: Sequence[str], environment: Mapping[str, str], streams: Streams, folder: str
) -> None:
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    os.setsid()
    for number, descriptor in enumerate(streams.descriptors, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    faulthandler.enable()
    subprocess_handler.Popen = Forked  # type: ignore[assignment, attr-defined]
    if command[0] == "-m":
        sys.argv = list(command[1:])
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")
