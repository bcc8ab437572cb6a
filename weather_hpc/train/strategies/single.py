"""``single``: one process on one CPU or GPU, the baseline of every speedup."""

from weather_hpc.train.strategies.base import Strategy


class Single(Strategy):
    """What a strategy is when there is nothing to spread."""
