"""The verb that prints completion scripts for shells.

weather-hpc completion bash > ~/.local/share/bash-completion/completions/weather-hpc
weather-hpc completion zsh > ~/.zfunc/_weather-hpc       (with fpath+=~/.zfunc before compinit)
weather-hpc completion fish > ~/.config/fish/completions/weather-hpc.fish

A script completes verbs, actions, options, choices, shipped studies and sites, and files. It holds
what this version knows: print it again after an update.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, get_args

from weather_hpc import cli

if TYPE_CHECKING:
    from shtab import CompleteType

SHELLS = ("bash", "zsh", "fish")

_FOLDERS = ("DIR", "RESULTS", "STORE")
_FILES = ("FILE", "PATH", "IMAGE", "FILE|RUN", "DIR|FILE", "NAME|FILE")
"""Names of values that are paths."""

_SHIPPED: dict[str, Literal["studies", "sites"]] = {"study": "studies", "site": "sites"}
"""Options that take the name of a shipped file, too."""


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("completion", description=__doc__)
    result.add_argument("shell", choices=SHELLS, help="the shell that reads the script")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Print the script for a shell; the exit code."""
    args = parser().parse_args(argv)
    sys.stdout.write(script(args.shell))
    return cli.EXIT_OK


def script(shell: str) -> str:
    """The completion script of ``weather-hpc`` for ``shell``, one of :data:`SHELLS`."""
    import shtab

    return shtab.complete(_whole_parser(), shell) + "\n"


def _whole_parser() -> argparse.ArgumentParser:
    """One parser with a subparser for each verb."""
    from weather_hpc.__main__ import VERBS

    root = argparse.ArgumentParser("weather-hpc")
    root.add_argument("--version", action="store_true", help="print the version")
    verbs = root.add_subparsers(dest="verb")
    for verb, (module, text) in VERBS.items():
        of_verb: argparse.ArgumentParser = importlib.import_module(module).parser()
        for action in _actions(of_verb):
            if isinstance(action.choices, dict) and not _has_parsers(action):
                action.choices = list(action.choices)  # a mapping is taken for parsers
            if complete := _completer(action):
                action.complete = complete  # type: ignore[attr-defined]
        verbs.add_parser(verb, parents=[of_verb], add_help=False, help=text)
    return root


def _actions(of: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of its subparsers."""
    for action in of._actions:
        yield action
        if _has_parsers(action) and isinstance(action.choices, dict):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _actions(inner)


def _has_parsers(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)


def _completer(action: argparse.Action) -> "CompleteType | None":
    import shtab

    if action.choices is None:
        action.choices = _setting_choices(action.dest)
    if action.choices is not None or action.nargs == 0:
        return None
    if action.dest in _SHIPPED:
        return _shipped(_SHIPPED[action.dest])
    if action.metavar in _FOLDERS:
        return shtab.DIRECTORY
    return shtab.FILE if action.metavar in _FILES else None


def _setting_choices(name: str) -> list[str] | None:
    """The values that a setting of a task may have, where they are few; None: it has others."""
    from weather_hpc.study import tasks

    for task in (tasks.TrainTask, tasks.PreprocessTask, tasks.EdaTask, tasks.ArrayTask):
        field = task.model_fields.get(name)
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, StrEnum):
                return list(kind)
    return None


def _shipped(kind: Literal["studies", "sites"]) -> "CompleteType":
    """Completes names of shipped files, and files."""
    from weather_hpc.study.yaml_file import folder

    names = " ".join(sorted(file.stem for file in folder(kind).glob("*.yaml")))
    function = f"_weather_hpc_{kind}"
    return {
        "bash": function,
        "zsh": f'_alternative "{kind}:{kind}:({names})" "files:file:_files"',
        "fish": f"({function})",
        "preamble": {
            "bash": f'{function}() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}\n',
            "fish": f"function {function}\n  printf '%s\\n' {names}\n"
            "  __fish_complete_path (commandline -ct)\nend\n",
        },
    }


if __name__ == "__main__":
    cli.run("completion", main)
