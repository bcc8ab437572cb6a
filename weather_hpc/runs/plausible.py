"""Figures that no run can have, whatever its record says."""

from weather_hpc.runs.record import RunRecord

LARGEST = 1e15
"""No count, second or rate of a real run is larger."""

SHORTEST_TIME_S = 1e-6


def implausible(record: RunRecord) -> str | None:
    """The first figure that no run can have, as ``field: what is wrong``."""
    figures = {"time_s": record.time_s, "images_per_s": record.images_per_s}
    for name, part in (
        ("phases", record.phases), ("counts", record.counts), ("usage", record.usage),
    ):  # fmt: skip
        figures |= {f"{name}.{field}": value for field, value in part}
    accuracies = {}
    for field, value in record.quality:
        if field.endswith("accuracy"):
            accuracies[f"quality.{field}"] = value
        elif isinstance(value, int | float):
            figures[f"quality.{field}"] = value
    figures["actual.world_size"] = record.actual.world_size
    figures["provenance.restarts"] = record.provenance.restarts
    for name, asked in (("task", record.spec.task), ("resources", record.spec.resources)):
        numbers = {field: value for field, value in asked if isinstance(value, int | float)}
        figures |= {f"spec.{name}.{field}": value for field, value in numbers.items()}
    for name, value in figures.items():
        if value is not None and not 0 <= value <= LARGEST:
            return f"{name}: is not within 0 and {LARGEST:g}"
    for name, value in accuracies.items():
        if value is not None and not 0 <= value <= 1:
            return f"{name}: is no fraction between 0 and 1"
    if record.time_s is not None and record.time_s < SHORTEST_TIME_S:
        return f"time_s: {record.time_s:g} s is too short to be measured"
    return None
