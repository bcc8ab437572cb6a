"""Builds ``fused.cpp`` on demand, once per processor and user, and calls it.

It is plain C++ with a C interface, without torch's headers: any C++ compiler builds it in about
three seconds, without ninja, which ``torch.utils.cpp_extension.load`` needs.
"""

import ctypes
import errno
import functools
import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

from weather_hpc.errors import FailedError
from weather_hpc.files import atomic_path, own_folder, wait_for_lock

SWITCH = "WEATHER_HPC_FUSED"
"""The variable that, set to ``off``, disables the fused layers."""

SOURCE = Path(__file__).with_name("fused.cpp")
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast"),
    *("-shared", "-fPIC", "-pthread"),
)
COMPILING_S = 300.0
"""Far longer than a compiler takes."""


class Kernels:
    """The functions of ``fused.cpp`` on tensors: contiguous, on the CPU, of the types given there.

    Each uses as many threads as torch does.
    """

    def __init__(self, library: Path) -> None:
        """Raises OSError where ``library`` cannot be loaded."""
        self._library = ctypes.CDLL(str(library))
        self._library.slopes_of_image.restype = ctypes.c_int64

    def slopes_of_image(self, side: int) -> int:
        """How many floats the forward pass keeps of an image."""
        return int(self._library.slopes_of_image(ctypes.c_int64(side)))

    def call(self, name: str, images: "torch.Tensor", *others: "torch.Tensor | None") -> None:
        """Run the pass ``name`` over ``images``, uint8 (count, side, side, 3)."""
        import torch

        count, side = images.shape[:2]
        sizes = (count, side, max(1, min(torch.get_num_threads(), count)))
        getattr(self._library, name)(
            _address(images), *map(ctypes.c_int64, sizes), *map(_address, others)
        )


def _address(tensor: "torch.Tensor | None") -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


@functools.cache
def kernels() -> Kernels:
    """The built functions. Raises FailedError, in one line, where they cannot be built or loaded.

    Where the cache cannot be written or its library not loaded (a home that is read-only or mounted
    noexec, a library of another system), or is another user's, this process builds its own.
    """
    with suppress(OSError, RuntimeError):  # RuntimeError: the user's home is unknown
        return Kernels(build(_cache()))
    try:
        with tempfile.TemporaryDirectory(prefix="weather-hpc-") as own:
            return Kernels(build(Path(own)))  # a loaded library may be removed
    except OSError as error:
        raise FailedError(f"the first layer's C++ cannot be built or loaded: {error}") from None


def build(folder: Path) -> Path:
    """The library in ``folder``, built unless it is there.

    One process builds it, others wait. Raises FailedError where there is no compiler or it fails,
    and OSError where ``folder`` cannot be written, or it or the library is another user's.
    """
    compiler = os.environ.get("CXX") or "c++"
    library = folder / f"fused-{_fingerprint(compiler)}.so"
    own_folder(folder)
    if library.exists():
        if library.stat().st_uid != os.geteuid():  # written while others could
            raise PermissionError(errno.EPERM, "belongs to another user", str(library))
        return library
    with (folder / ".lock").open("a") as lock:
        # without locks two may build it: the later rename wins
        wait_for_lock(lock, "held by a process that compiles the first layer")
        if not library.exists():
            with atomic_path(library) as temporary:
                _compile(compiler, temporary)
    return library


def _compile(compiler: str, library: Path) -> None:
    # CXX may include a wrapper or options, as for make; error messages are expected in English
    command = [*shlex.split(compiler), *FLAGS, "-o", str(library), str(SOURCE)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMPILING_S,
            stdin=subprocess.DEVNULL, env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise FailedError(f"no C++ compiler ({compiler}): {why}") from None
    except subprocess.TimeoutExpired:
        raise FailedError(f"{compiler} takes longer than {COMPILING_S:g} s") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        reason = errors[0] if errors else "no error message"
        raise FailedError(f"{compiler} cannot build {SOURCE.name}: {reason}")


def _cache() -> Path:
    """The folder of built libraries: the user's cache folder, by the XDG specification."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "weather_hpc")


def _fingerprint(compiler: str) -> str:
    """A hash of all that the library depends on. Nodes and containers of a cluster may share the
    cache folder and differ in their processors' features and C library."""
    system = "-".join(platform.libc_ver())
    parts = [SOURCE.read_text(encoding="utf-8"), compiler, *FLAGS, system, *_features()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _features() -> list[str]:
    """The processor's model and features, from Linux."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = ("model name", "flags", "Features", "CPU part")
    return sorted({line for line in lines if line.startswith(names)})
