"""Claims: statements about configurations, tested by rules on measured and on printed numbers."""
