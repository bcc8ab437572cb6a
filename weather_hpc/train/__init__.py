"""Training: one loop independent of how the work is distributed, one file per strategy."""
