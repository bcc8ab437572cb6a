"""How the chunks are spread over workers: one file per backend, chosen by name."""

import importlib

from weather_hpc.errors import UserError
from weather_hpc.preprocess.backends.base import Backend, Context
from weather_hpc.study.spec import Backend as Name

BACKENDS = {
    Name.SEQUENTIAL: "SequentialBackend",
    Name.MULTIPROCESSING: "MultiprocessingBackend",
    Name.DASK: "DaskBackend",
    Name.DASK_NAIVE: "DaskNaiveBackend",
    Name.DASK_JOBQUEUE: "DaskJobqueueBackend",
}
"""Name -> class, in the module of the same name; imported only when chosen."""


def make_backend(name: Name, context: Context | None = None) -> Backend:
    """The backend called ``name``; ``context`` is for one whose workers are jobs of their own.

    Raises UserError where this installation lacks what it needs.
    """
    try:
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    except ImportError as error:
        raise UserError(
            f"backend {name}: {error}; install it with pip install 'weather_hpc[dask]'"
        ) from None
    make = getattr(module, BACKENDS[name])
    backend: Backend = make() if context is None else make(context)
    return backend
