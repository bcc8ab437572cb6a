"""Figures that no run can have, whatever its record says."""

from weather_hpc.records.record import RunRecord

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
    figures["actual.world_size"] = record.actual.world_size
    figures["provenance.restarts"] = record.provenance.restarts
    task = record.spec.task.model_dump()
    figures |= {f"spec.task.{k}": v for k, v in task.items() if isinstance(v, int | float)}
    for name, value in figures.items():
        if value is not None and not 0 <= value <= LARGEST:
            return (
                f"{name}: {value:.3g} cannot be" if value < 0 else f"{name}: is beyond {LARGEST:g}"
            )
    if record.time_s is not None and record.time_s < SHORTEST_TIME_S:
        return f"time_s: {record.time_s:g} s is too short to be measured"
    return None
