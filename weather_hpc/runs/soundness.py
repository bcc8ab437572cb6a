"""Whether the record in a run folder is valid: readable, of this run, with possible values.

All verbs ask here: a record that is not valid is in no table, and its run is made again.
"""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.runs.inputs import LARGEST, check_size, read_json
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.study.spec import RunSpec
from weather_hpc.study.stages import MEASURED

NO_TIME = "time_s: is missing, but the status is ok"


def sound_record(paths: RunPaths, spec: RunSpec | None = None) -> RunRecord:
    """The record of a run folder; ``spec``: of its run, where the folder may have no spec.json.

    Raises UserError, which names the file and the field, where it cannot be read, is of another
    run than spec.json, or says that the run succeeded but has no time or an impossible value.
    """
    check_size(paths.record)
    record = read_record(paths.record)
    planned = _settings_in(paths) or spec
    if planned is not None and planned != record.spec and planned.key != record.spec.key:
        where = ", ".join(record.spec.differences(planned))
        raise UserError(f"{paths.record}: is of another run than {paths.spec.name}: {where}")
    if record.status is Status.OK:
        if record.spec.stage in MEASURED and record.time_s is None:
            raise UserError(f"{paths.record}: {NO_TIME}")
        if odd := implausible(record):
            raise UserError(f"{paths.record}: {odd}")
    return record


def readable_spec(paths: RunPaths) -> RunSpec | None:
    """The spec in spec.json; None where it cannot be read."""
    try:
        return spec_in(paths)
    except UserError:
        return None


def spec_in(paths: RunPaths) -> RunSpec:
    """The spec in spec.json. Raises UserError where it cannot be read."""
    return _parsed(paths, RunSpec.from_dict)


def _settings_in(paths: RunPaths) -> RunSpec | None:
    """The same without the run's label, which takes most of the time; None: cannot be read."""
    try:
        return _parsed(paths, lambda value: RunSpec.model_validate(_without_label(value)))
    except UserError:
        return None


def _without_label(value: dict[str, Any]) -> dict[str, Any]:
    return {name: setting for name, setting in value.items() if name != "run_id"}


def _parsed(paths: RunPaths, parse: Callable[[dict[str, Any]], RunSpec]) -> RunSpec:
    try:
        return parse(dict(read_json(paths.spec)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{paths.spec}: {where}: {first['msg']}") from None
    except (ValueError, TypeError):
        raise UserError(f"{paths.spec}: is not a JSON object") from None


SHORTEST_TIME_S = 1e-6

CLOCKS_DIFFER = 1.05
"""How much longer a rank may compute than the measured time, each by its own clock."""


def implausible(record: RunRecord) -> str | None:
    """The first impossible value, as ``field: what is wrong``; None if all are possible."""
    for part, field, value in _numbers(record):
        if not 0 <= value <= LARGEST:
            return f"{part}{field}: expected a value from 0 to {LARGEST:g}"
        if part == "quality." and field.endswith("accuracy") and value > 1:
            return f"{part}{field}: expected a fraction from 0 to 1"
    if record.time_s is not None and record.time_s < SHORTEST_TIME_S:
        return f"time_s: {record.time_s:g} s is too short, expected at least {SHORTEST_TIME_S:g} s"
    for number, rank in enumerate(record.actual.ranks):
        computed = rank.computation_s
        if computed is not None and record.time_s and computed > record.time_s * CLOCKS_DIFFER:
            return (
                f"actual.ranks.{number}.computation_s: {computed:g} s is longer than the whole"
                f" measured time, {record.time_s:g} s"
            )
    return None


def _numbers(record: RunRecord) -> Iterator[tuple[str, str, float]]:
    """Every number that is known: the part it is in, its field, its value."""
    spec = record.spec
    if record.time_s is not None:
        yield "", "time_s", record.time_s
    if record.images_per_s is not None:
        yield "", "images_per_s", record.images_per_s
    for name, part in (
        ("phases.", record.phases), ("counts.", record.counts), ("usage.", record.usage),
        ("exploration.", record.exploration), ("quality.", record.quality),
        ("spec.task.", spec.task), ("spec.resources.", spec.resources),
    ):  # fmt: skip
        for field, value in part:
            if isinstance(value, int | float):
                yield name, field, value
    if record.actual.world_size is not None:
        yield "actual.", "world_size", record.actual.world_size
    yield "provenance.", "restarts", record.provenance.restarts
    for number, rank in enumerate(record.actual.ranks):
        for field in ("rank", "computation_s", "data_wait_s", "communication_s"):
            value = getattr(rank, field)
            if value is not None:
                yield f"actual.ranks.{number}.", field, value
