"""spec.json: the spec of a run, checked when it is read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.reading import first_error, read_object
from weather_hpc.study.spec import RunSpec


def spec_in(path: Path) -> RunSpec:
    """The spec in the file ``path``. Raises UserError naming it and the field that is wrong."""
    return spec_of(read_object(path), path)


def spec_of(
    value: Any, path: Path, parse: Callable[[dict[str, Any]], RunSpec] = RunSpec.from_dict
) -> RunSpec:
    """The spec that ``value``, read from ``path``, is. Raises UserError as :func:`spec_in` does.

    ``parse``: makes the spec; may raise ValueError.
    """
    if not isinstance(value, dict):
        raise UserError(f"{path}: the spec of a run must be a JSON object")
    try:
        return parse(value)
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"{path}: {error}") from None
