"""Settings as command-line flags: added to a parser, read back as a task, rendered from a task."""

import argparse
from collections.abc import Container, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from weather_hpc import cli
from weather_hpc.errors import UserError, nearest
from weather_hpc.study import recipe as recipes
from weather_hpc.study.settings import REQUIRED, SETTINGS, TASKS, Setting

if TYPE_CHECKING:
    from weather_hpc.study.tasks import Part, PredictTask, TrainTask, WorkerTask

    Task = TypeVar("Task", bound=WorkerTask | TrainTask | PredictTask)


def add_flags(
    parser: cli.Parser, kind: str, defaults: Mapping[str, str], without: Container[str] = ()
) -> None:
    """Add a flag for each setting of ``kind`` of task.

    ``defaults``: text for those with a default of the verb's own. ``without``: settings that
    the verb has no flag for.
    """
    for setting in TASKS[kind]:
        if setting.of == "task" and setting.name not in without:
            default = defaults.get(setting.name, _default(setting))
            parser.add_argument(
                setting.option, dest=setting.name, type=setting.parse, metavar=setting.metavar,
                help=f"{setting.help} (default: {default})",
            )  # fmt: skip


def given(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The settings whose flags were typed, by name."""
    names = [s.name for s in TASKS[kind] if getattr(args, s.name, None) is not None]
    return {name: getattr(args, name) for name in names}


def make_task(task: "type[Task]", values: Mapping[str, Any]) -> "Task":
    """The task with ``values`` and the usual ones of all other settings.

    Raises UserError naming the flag that is wrong.
    """
    from pydantic import ValidationError

    usual = {n: s.usual for n, s in SETTINGS.items() if s.usual is not REQUIRED}
    usual |= recipes.settings_of(values.get("recipe"))
    known = {n: v for n, v in usual.items() if n in task.model_fields}
    try:
        return task(**known | dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise UserError(first["msg"].removeprefix("Value error, ")) from None
        name = str(first["loc"][0])
        raise UserError(_wrong(SETTINGS[name], first["input"], first["msg"], task)) from None


def check_agreement(task: "Task", values: Mapping[str, Any], where: str) -> None:
    """Raise UserError where one of ``values`` is wrong, or not the ``task``'s in ``where``."""
    other = make_task(type(task), task.model_dump() | dict(values))
    for name, value in values.items():
        here = getattr(task, name)
        if getattr(other, name) != here:
            raise UserError(f"{SETTINGS[name].option} {value}: {where} has {name} {here}")


def task_flags(task: "WorkerTask | TrainTask", without: Container[str] = ()) -> list[str]:
    """The flags from which :func:`make_task` makes ``task``, without those of unset settings."""
    flags = []
    for setting in TASKS[task.kind]:
        if setting.of == "task" and setting.name not in without:
            value = getattr(task, setting.name)
            if value is not None:
                flags += [setting.option, repr(value) if isinstance(value, float) else str(value)]
    return flags


def _default(setting: Setting) -> Any:
    if setting.default is REQUIRED:
        return setting.usual
    return setting.default if setting.unset is None else setting.unset


def _wrong(setting: Setting, value: Any, reason: str, task: "type[Part]") -> str:
    """The one line for a value that ``task`` refuses."""
    kind = task.model_fields[setting.name].annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        reason = f"no such {setting.option.removeprefix('--')}{nearest(str(value), list(kind))}"
    return f"{setting.option} {value}: {reason}"
