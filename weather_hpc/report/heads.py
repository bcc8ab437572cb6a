"""What people read above a column: words and a unit instead of the column's name in the files."""

_WORDS = {
    "run_id": "run",
    "time_s": "time, s",
    "world_size": "ranks",
    "batch_size_per_device": "batch size per device",
    "batch_size_global": "global batch size",
    "images_per_s": "images/s",
    "image_size_px": "image side, px",
    "test_accuracy": "test accuracy",
    "node_hours": "node-hours",
    "energy_j": "energy, J",
    "serial_fraction": "serial fraction",
    "model": "network",
    "true_class": "true class",
    "cpus": "CPUs",
}
"""Heads that do not follow from the name."""

_UNITS = {
    "_s": "s", "_mb": "MB", "_gb": "GB", "_px": "px", "_percent": "%", "_j": "J", "_w": "W",
    "_gb_per_s": "GB/s", "_us": "µs", "_c": "°C", "_mhz": "MHz",
}  # fmt: skip
"""Units by the end of a column's name, which tells them."""


def head(column: str) -> str:
    """The head of ``column``: ``start-up, s`` of ``startup_s``.

    ``speedup_2`` is ``speedup, at 2``: of 2 workers.
    """
    if column in _WORDS:
        return _WORDS[column]
    name, _, size = column.rpartition("_")
    if name and size.isdigit():
        return f"{head(name)}, at {size}"
    for end in sorted(_UNITS, key=len, reverse=True):
        if column.endswith(end) and len(column) > len(end):
            return f"{_spaced(column.removesuffix(end))}, {_UNITS[end]}"
    return _spaced(column)


def _spaced(name: str) -> str:
    words = name.replace("_", " ").replace("startup", "start-up")
    return words.replace("cpu", "CPU").replace("gpu", "GPU")
