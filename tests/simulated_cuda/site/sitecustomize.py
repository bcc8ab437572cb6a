"""Python reads this first where its folder is on PYTHONPATH: children get the simulated devices."""

import os

if os.environ.get("SIMULATED_GPUS"):
    import tests.simulated_cuda.install  # noqa: F401
