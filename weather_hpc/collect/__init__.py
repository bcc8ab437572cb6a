"""The verb collect: what runs left behind -> rows, rejects, audit, tables, plots and the report."""
