"""YAML files checked against a model; errors name file, line, key and the nearest spelling."""

import contextlib
import re
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from weather_hpc.errors import UserError, closest, nearest
from weather_hpc.reading import is_file, read_text
from weather_hpc.study import yaml_text
from weather_hpc.study.yaml_text import LARGEST_YAML, LONGEST_PATH, cut

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")

MOST = 2**32 - 1
"""The largest whole number in a YAML file; seeds go up to it."""

Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
"""A whole number from 1 up; ``true`` and ``"4"`` are not numbers."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


OneOrMany = Annotated[list[T], BeforeValidator(_as_list), Field(min_length=1)]
"""A value or a list of values: a grid has every combination of them."""


class Section(BaseModel):
    """Base of all parts of a YAML file: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def load(path: Path, model: type[Model]) -> Model:
    """The content of the YAML file ``path`` as ``model``.

    Raises :class:`UserError` with file, line, key, and what is expected.
    """
    text = read_text(path, LARGEST_YAML)
    try:
        value, node = yaml_text.values(text)
    except yaml.YAMLError as error:
        line, problem = yaml_text.explained(text, error)
        where = str(path) if line is None else f"{path}:{line}"
        raise UserError(f"{where}: not valid YAML: {problem}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected keys such as {_names(model)} at the top level")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError(*_explained(path, model, node, error)) from None


def _names(model: type[BaseModel]) -> str:
    return ", ".join(list(model.model_fields)[:4])


def _explained(
    path: Path, model: type[BaseModel], node: yaml.Node | None, error: ValidationError
) -> list[str]:
    """A line for each error, from the top of the file."""
    # pydantic adds "[key]" where the key of a mapping is wrong, not its value
    errors = [
        (tuple(part for part in one["loc"] if part != "[key]"), one) for one in error.errors()
    ]
    # a key that is misspelled is not missing too
    meant = {
        (*loc[:-1], closest(str(loc[-1]), _keys(model, loc[:-1])))
        for loc, one in errors
        if one["type"] == "extra_forbidden"
    }
    lines: dict[str, int] = {}
    for loc, one in errors:
        if one["type"] == "missing" and loc in meant:
            continue
        line = 0 if node is None else _line(node, loc)
        where = f"{path}:{line}" if line else str(path)
        key, message = _message(model, loc, one)
        lines.setdefault(f"{where}: {key + ': ' if key else ''}{message}", line)
    return sorted(lines, key=lambda text: lines[text])


def _message(
    model: type[BaseModel], loc: tuple[int | str, ...], error: "ErrorDetails"
) -> tuple[str, str]:
    """The key that ``error`` is about, spelled out, and what is wrong."""
    kind, key = error["type"], spelled(loc)
    if kind == "extra_forbidden":
        unknown = cut(str(loc[-1]))
        return spelled(
            loc[:-1]
        ), f"unknown key {unknown!r}{nearest(unknown, _keys(model, loc[:-1]))}"
    if kind in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        found = cut(str(error["input"]))
        shown = repr(found) if isinstance(error["input"], str) else found
        return key, f"{shown} is no choice{nearest(found, choices)}"
    if kind == "missing":
        return key, "is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(error["input"], str | int | float | bool):
        message += f", not {cut(repr(error['input']))}"
    return key, message


def place(path: Path, loc: tuple[int | str, ...]) -> str:
    """``file:line`` of the key that ``loc`` leads to; the file alone where it has changed."""
    try:
        node = yaml_text.compose(read_text(path, LARGEST_YAML))
    except (UserError, yaml.YAMLError):
        return str(path)
    return str(path) if node is None else f"{path}:{_line(node, loc)}"


def spelled(loc: tuple[int | str, ...]) -> str:
    """``('train', 0, 'workers')`` as ``train[0].workers``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc]
    return "".join(parts).removeprefix(".")


def _line(node: yaml.Node, loc: tuple[int | str, ...]) -> int:
    """The 1-based line of the deepest node that ``loc`` leads to."""
    line = node.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = {str(key.value): (key, value) for key, value in node.value}
            if str(part) not in pairs:
                break
            key, node = pairs[str(part)]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break  # a value that is missing at the end
            node = node.value[part]
            line = node.start_mark.line
    return line + 1


def _keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys allowed in the section that ``loc`` leads to."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            inner = _model_in(model.model_fields[part].annotation)
            model = inner or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as ``list[X] | None`` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, dict, Union, types.UnionType, typing.Annotated):
        for inner in get_args(annotation):
            if (found := _model_in(inner)) is not None:
                return found
    return None


PACKAGE = Path(__file__).resolve().parents[1]


def folder(kind: Literal["studies", "sites"]) -> Path:
    """The folder of shipped YAML files: in the wheel, or the checkout's ``hpc/``."""
    inside = PACKAGE / "hpc" / kind
    return inside if inside.is_dir() else PACKAGE.parent / "hpc" / kind


def shipped(kind: Literal["studies", "sites"], name: str) -> Path:
    """The file called ``name``, or else the shipped one of that name."""
    path = Path(name)
    if is_file(path):
        return path
    known = {file.stem: file for file in sorted(folder(kind).glob("*.yaml"))}
    if name in known:
        return known[name]
    stem = cut(path.name).removesuffix(".yaml").removesuffix(".yml")
    with contextlib.suppress(OSError):
        if path.exists():
            what = "a folder" if path.is_dir() else "no regular file"
            raise UserError(f"{path}: is {what}, expected a YAML file")
    shown, like = cut(name, LONGEST_PATH), nearest(stem, list(known))
    raise UserError(f"no file {shown!r} and no shipped {kind} of that name{like}")
