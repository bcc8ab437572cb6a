"""Training: one loop that is blind to how the work is spread, one file per strategy."""
