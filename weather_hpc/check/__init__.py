"""The check verb: whether this node, or these nodes, compute rightly, and how fast."""
