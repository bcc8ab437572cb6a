"""Puts the simulated devices in place of CUDA. Import it before torch."""

import ctypes
import os
import sys

from tests.simulated_cuda.build import library, torch_folder

assert "torch" not in sys.modules, "the simulated devices come before torch"
GPUS = int(os.environ.setdefault("SIMULATED_GPUS", "1"))

for _name in ("libc10.so", "libtorch_cpu.so"):
    ctypes.CDLL(str(torch_folder() / "lib" / _name), ctypes.RTLD_GLOBAL)
DEVICE = ctypes.CDLL(str(library()), ctypes.RTLD_GLOBAL)
for _function in ("memory_used", "memory_peak", "memory_limit", "generator_bytes"):
    getattr(DEVICE, _function).restype = ctypes.c_int64

from tests.simulated_cuda import collectives, cuda, data_parallel, graphs  # noqa: E402

cuda.install(DEVICE, GPUS)
graphs.install()
collectives.install()
data_parallel.install()
