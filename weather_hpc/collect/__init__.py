"""The verb collect: results of runs -> rows, rejects, audit, tables, plots and the report."""
