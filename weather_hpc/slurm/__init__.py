"""Talking to Slurm: commands, jobs, accounting, what the cluster has."""
