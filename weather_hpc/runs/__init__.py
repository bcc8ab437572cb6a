"""What a run says of itself: the RunRecord schema, its writer, clocks and provenance."""
