"""What this process has used of the host's memory."""

from pathlib import Path


def memory_peak_mb() -> float | None:
    """This process's peak resident memory in MB; null where the kernel does not tell.

    Not from getrusage: what that says of a spawned process begins at its parent's size.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return None
