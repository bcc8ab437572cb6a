"""The ``bench`` verb: this package compared with other implementations, as ratios."""
