"""The ``bench`` verb: what this package does beside other ways to do it, as ratios."""
