"""A soak: a small study whose processes are killed at random, again and again (``make soak``)."""
