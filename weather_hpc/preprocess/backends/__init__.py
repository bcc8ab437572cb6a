"""How the chunks are spread over workers: one file per backend, chosen by name."""

import importlib

from weather_hpc.errors import UserError
from weather_hpc.preprocess.backends.base import Backend
from weather_hpc.study.spec import Backend as Name

BACKENDS = {
    Name.SEQUENTIAL: "SequentialBackend",
    Name.MULTIPROCESSING: "MultiprocessingBackend",
    Name.DASK: "DaskBackend",
}
"""Name -> class, in the module of the same name; imported only when chosen."""


def make_backend(name: Name) -> Backend:
    """The backend called ``name``. Raises UserError where this installation has none."""
    if name not in BACKENDS:
        raise UserError(f"backend {name} is not available yet; available: {', '.join(BACKENDS)}")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise UserError(
            f"backend {name}: {error}; install it with pip install 'weather_hpc[{name}]'"
        ) from None
    backend: Backend = getattr(module, BACKENDS[name])()
    return backend
