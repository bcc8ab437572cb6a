"""Rows -> scaling tables: repeats together, medians with intervals, speedup, its baseline."""
