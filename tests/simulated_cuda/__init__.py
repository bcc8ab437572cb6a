"""A simulated CUDA device, with which the code for GPUs runs where there is none.

``SIMULATED_GPUS`` says how many; :mod:`tests.simulated_cuda.install`, imported before torch, puts
them in place. What this shows and what it cannot show is told in docs/measuring.md.
"""
