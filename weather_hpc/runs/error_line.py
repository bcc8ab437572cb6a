"""The line of a log that says why a program failed.

It is seldom the last one: srun reports the exit codes of its tasks after it, torchrun a table of
its ranks and a traceback of its own, and ranks that lost a failed one print what that made of them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

LAST_BYTES = 64 * 1024
"""How much of the end of a log is searched: torchrun's table alone may take some kilobytes."""

LONGEST = 300
"""Characters of a line that are kept."""

_PREFIX = re.compile(
    r"^(?:\[(?:rank|default|worker)?\d+\]:\s?|\d{1,5}: (?=\S)|\x1b\[[\d;]*m)+"
)  # fmt: skip
"""What marks a line's rank: torch's, torchrun's and ``srun --label``'s way; colours too."""

_BY_SLURM = re.compile(
    r"oom[_-]kill|DUE TO (?:TIME LIMIT|NODE FAILURE|PREEMPTION)|Exceeded job memory limit"
    r"|execve\(\)|couldn't chdir|Unable to (?:create step|confirm allocation)|invalid user",
    re.IGNORECASE,
)
"""What Slurm says that no program can say itself."""

_SLURMS_OWN = re.compile(r"^(?:srun|slurmstepd|sbatch)(?:-\S+)?: ")

_BY_SRUN = re.compile(r"^srun: error: \S+: tasks? [\d,-]+: (?!Exited with|Terminated$)")
"""A task that a signal ended."""

_TRACEBACK = re.compile(r"^[\s+|]*(?:Exception Group )?Traceback \(most recent call (?:last|first)")
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?::|$)")
_OWN = re.compile(
    r"^(?:[\w.]+: (?:error|fatal error): |(?:train|preprocess|eda|predict|data|array|check|collect"
    r"|sweep|bench|python -m weather_hpc[\w.]*): )"
)
"""The last words of our own verbs, and of programs that write in the same way."""

_FATAL = re.compile(r"^(?:Fatal Python error: |terminate called |\s*what\(\): )")

_LAUNCHER = re.compile(r"ChildFailedError|SignalException|torch\.distributed\.elastic")
"""torchrun's own exceptions."""

_AFTERMATH = re.compile(
    r"connection (?:was )?(?:closed|reset|refused)|broken pipe|DistBackendError|DistNetworkError"
    r"|DistStoreError|remote process exited|socketpollconnect|BrokenProcessPool|EOFError"
    r"|Connection(?:Reset|Aborted|Refused)?Error|KeyboardInterrupt",
    re.IGNORECASE,
)
"""What a process says that lost another one, or was told to end."""

_NOISE = re.compile(
    r"^\s|^$|^[-=*^~_+|\s]{3,}$"
    r"|^srun: (?:error: \S+ tasks? [\d,-]+: |Terminating|launch/|Job step|Force |Complete)"
    r"|^slurmstepd: error: \*\*\* .* CANCELLED AT [^*]*\*\*\*$"
    r"|torch/distributed/(?:run|elastic)|torch\.distributed\.(?:run|elastic)"
    r"|^[WIEF]\d{4} \d\d:\d\d:\d\d|^\[[WI]\d{4} |^\[[WI]\d{3} "
    r"|^[\w./-]+ FAILED$|^Root Cause|^Failures:$"
    r"|^\[\d+\]:$|Setting OMP_NUM_THREADS|closing signal SIG"
    r"|resource_tracker|leaked (?:semaphore|shared_memory)|destroy_process_group"
    r"|^During handling of the above|^The above exception was the direct"
    r"|^epoch +\d+/\d+  loss | are left out: \d+ × |; see the store's quarantine\.csv$"
    r"|^Traceback |^CUDA kernel errors might|^For debugging consider|^Compile with `?TORCH_USE"
    r"|^Extension modules: |^Current thread 0x|^Thread 0x|Warning: |warnings\.warn"
)
"""Lines that end logs and explain nothing."""

_ERROR = re.compile(
    r"errors?\b|fatal|not found|no such|cannot|could not|denied|killed|segmentation fault"
    r"|bus error|out of memory|abort|core dumped|no space|failed|refused|illegal instruction",
    re.IGNORECASE,
)

_SIGNAL = re.compile(r"Signal \d+ \((SIG\w+)\) received by PID \d+")


def error_in(path: Path) -> str:
    """The line of the log at ``path`` that :func:`error_line` finds; empty where there is none."""
    return error_line(_end(path))


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of the log at ``path`` that are not blank; none if unreadable."""
    lines = (_cut(line.rstrip()) for line in re.split(r"[\r\n]+", _end(path)))
    return [line for line in lines if line.strip()][-count:]


def _end(path: Path) -> str:
    """The end of the file ``path``; empty where it cannot be read."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LAST_BYTES))
            return file.read().decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def error_line(text: str) -> str:
    """The line of a program's output that says why it failed; empty where nothing was written.

    The first that there is of: what only Slurm knows (memory, time limit, lost node); the last
    exception, or else the last line that speaks of an error, those of a process that lost another
    one last; the signal in torchrun's table, or by srun's words; the last line at all.
    """
    lines = [_PREFIX.sub("", line.rstrip()) for line in re.split(r"[\r\n]+", text)]
    lines = [line for line in lines if line.strip()]
    by_slurm = [line for line in lines if _SLURMS_OWN.match(line) and _BY_SLURM.search(line)]
    causes = [line for line in _causes(lines) if not _LAUNCHER.search(line)]
    by_srun = [line for line in lines if _BY_SRUN.search(line)]
    telling = [line for line in lines if not _NOISE.search(line) and line not in by_srun]
    errors = [line for line in telling if _ERROR.search(line) or _OWN.match(line)]
    signals = [match[0] for match in map(_SIGNAL.search, lines) if match]
    order = (by_slurm, _first_hand(causes), _first_hand(errors), causes, errors, signals, by_srun)
    for found in (*order, telling, lines):
        if found:
            return _cut(found[-1].strip())
    return ""


def _first_hand(lines: list[str]) -> list[str]:
    return [line for line in lines if not _AFTERMATH.search(line)]


def _causes(lines: list[str]) -> Iterator[str]:
    """The exceptions that tracebacks end in, and what interpreters say as they give up."""
    inside = False
    for number, line in enumerate(lines):
        if _TRACEBACK.match(line):
            inside = True
        elif inside and not line.startswith((" ", "\t", "+", "|")):
            inside = False
            if _EXCEPTION.match(line):
                yield line
        elif _FATAL.match(line) and not (
            # the text of a C++ exception is in a line of its own
            line.startswith("terminate") and "what()" in "".join(lines[number + 1 : number + 2])
        ):
            yield line


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
