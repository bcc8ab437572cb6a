"""The NVIDIA driver of this node, asked without torch: a CPU build of it cannot tell."""

import contextlib
import ctypes
import re
from pathlib import Path

MODULE = Path("/proc/driver/nvidia/version")
"""What the loaded kernel module says of itself."""

LIBRARY = "libcuda.so.1"
"""The part of the driver that programs load."""


def driver_version() -> str | None:
    """Such as ``535.104.05``, by the kernel module, else by NVML; None where neither is there."""
    with contextlib.suppress(OSError):
        found = re.search(r"\d+\.\d+(\.\d+)?", MODULE.read_text().partition("\n")[0])
        if found:
            return found[0]
    with contextlib.suppress(ImportError):
        import pynvml

        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            return str(pynvml.nvmlSystemGetDriverVersion())
    return None


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver serves, such as (12, 4); None where it cannot be asked."""
    version = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    # 12040 is 12.4; 0 comes from the stub that toolkits have for linking
    return None if failed or not version.value else divmod(version.value // 10, 100)
