"""Backends: how chunks are distributed over workers of this machine or Slurm jobs."""
