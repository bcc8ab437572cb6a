"""What runs left behind -> rows, rejects, audit, tables, plots and the report page."""

from weather_hpc.collect.study import Question, collect, collect_study, tell

__all__ = ["Question", "collect", "collect_study", "tell"]
