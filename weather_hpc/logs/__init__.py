"""Text logs that other programs printed -> readings, streaming, with what does not fit in them."""

from weather_hpc.logs.find import find_logs
from weather_hpc.logs.log_format import formats
from weather_hpc.logs.pattern import parse as parse_pattern
from weather_hpc.logs.read import read_logs
from weather_hpc.logs.siblings import audit_siblings

__all__ = ["audit_siblings", "find_logs", "formats", "parse_pattern", "read_logs"]
