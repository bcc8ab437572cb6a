"""Builds ``device.cpp`` on demand, once per version of torch and user, against the torch in use."""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import subprocess
from pathlib import Path

from weather_hpc.files import atomic_path

SOURCE = Path(__file__).with_name("device.cpp")
FLAGS = ("-std=c++20", "-O1", "-shared", "-fPIC")


def torch_folder() -> Path:
    """Where torch is installed, which is not imported for it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def library() -> Path:
    """The built library. Processes that want it at once wait for the one that builds it."""
    compiler = os.environ.get("CXX") or "c++"
    told = [SOURCE.read_text(), compiler, *FLAGS, importlib.metadata.version("torch")]
    name = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "weather_hpc")
    path = cache / f"simulated-cuda-{name}.so"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".simulated-cuda.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                with atomic_path(path) as temporary:
                    _compile(compiler, temporary)
    return path


def _compile(compiler: str, path: Path) -> None:
    torch = torch_folder()
    include, libraries = torch / "include", torch / "lib"
    command = [
        *shlex.split(compiler), *FLAGS, f"-I{include}",
        f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}", str(SOURCE), "-o", str(path),
        f"-L{libraries}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{libraries}",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AssertionError(
            f"no C++ compiler ({compiler}: {error.strerror}); the simulated devices need one: "
            "install g++, or name one by CXX"
        ) from None
    assert done.returncode == 0, f"{SOURCE.name} cannot be built:\n{done.stderr[-4000:]}"
