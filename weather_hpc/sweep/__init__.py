"""The verb sweep: from a study to the report."""
