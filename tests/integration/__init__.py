"""Tests against a real Slurm on this machine."""
