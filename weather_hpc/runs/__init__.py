"""Run folders: their files, the RunRecord schema, its writer and reader, clocks, provenance."""
