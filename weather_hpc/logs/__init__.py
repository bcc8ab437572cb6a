"""Text logs that other programs printed -> readings, streaming, with what does not fit in them."""

from weather_hpc.logs.checks import audit_across_logs
from weather_hpc.logs.log_format import formats
from weather_hpc.logs.names import find_logs
from weather_hpc.logs.names import parse as parse_pattern
from weather_hpc.logs.reader import read_logs

__all__ = ["audit_across_logs", "find_logs", "formats", "parse_pattern", "read_logs"]
