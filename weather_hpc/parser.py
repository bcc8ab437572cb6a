"""Command lines: what a verb is called, its help, options that all verbs have, typos.

Without heavy imports, so that ``--help`` is fast.
"""

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from weather_hpc import verbosity
from weather_hpc.errors import closest, nearest

PROGRAM = "weather-hpc"

WIDEST = 100
"""Columns of a help text, on however wide a terminal."""

_MODULE = re.compile(r"python -m weather_hpc\.([a-z]+)(?![\w.])")
"""A verb as texts in the code call it; modules below a verb have no other name."""

_EXAMPLE = re.compile(r"^(python |weather-hpc |sbatch |source |eval |\s)|\S {2,}\S", re.M)
"""A paragraph whose lines must stay as they are."""


def by_name() -> bool:
    """Whether this process was started as ``weather-hpc``, not as ``python -m weather_hpc``."""
    return Path(sys.argv[0]).name == PROGRAM


def spoken(text: str) -> str:
    """``text``, in which verbs are called as this process was started."""
    return _MODULE.sub(rf"{PROGRAM} \1", text) if by_name() else text


def command(verb: str) -> str:
    """How a user starts ``verb``: ``weather-hpc sweep`` or ``python -m weather_hpc.sweep``."""
    return spoken(f"python -m weather_hpc.{verb}")


def speaker(verb: str) -> str:
    """What the verb's error messages begin with: ``weather-hpc sweep`` or ``sweep``."""
    return f"{PROGRAM} {verb}" if by_name() else verb


def _plain(docstring: str) -> str:
    """A module's docstring without its markup, and without the verb's name in front."""
    text = re.sub(r"^``python -m weather_hpc[\w.]*``: ", "", docstring).replace("``", "")
    return text[:1].upper() + text[1:]


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Fits the terminal; shows an option's default unless the help text already has it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, WIDEST) - 2)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = "default" in (action.help or "")
        if has_default or action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Paragraphs of ``text`` wrapped; examples and lists as they are written."""
        paragraphs = text.strip().split("\n\n")
        kept = (p if _EXAMPLE.search(p) else textwrap.fill(p, width) for p in paragraphs)
        return textwrap.indent("\n\n".join(kept), indent)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and whose help shows the defaults.

    Where a word is mistyped, the error names the nearest that is right.
    """

    def __init__(self, verb: str, **options: Any) -> None:
        options.setdefault("formatter_class", _Help)
        options.setdefault("allow_abbrev", False)
        for part in ("description", "epilog"):
            if options.get(part):
                options[part] = spoken(_plain(options[part]))
        super().__init__(prog=command(verb), **options)
        self.verb = verb

    def error(self, message: str) -> NoReturn:
        """Print ``message``, of one line or several, and exit with 2."""
        too_many = message.startswith("unrecognized arguments: ")
        if too_many and "--results" in self._option_string_actions:
            message += "; a results folder is named by --results"
        lines = [f"{speaker(self.verb)}: {line}" for line in message.splitlines()]
        print("\n".join(lines) + " (see --help)", file=sys.stderr)
        raise SystemExit(2)

    def add_output(self) -> None:
        """Add what every verb has: ``--json``, ``--quiet`` and ``--verbose``."""
        group = self.add_argument_group("output")
        group.add_argument(
            "--json", action="store_true", help="print the result as one JSON object, on one line"
        )
        loud = group.add_mutually_exclusive_group()
        loud.add_argument(
            "-q", "--quiet", action="store_true", help="print the result and errors alone"
        )
        loud.add_argument(
            "-v", "--verbose", action="store_true",
            help="print paths, commands and the time of each step, too",
        )  # fmt: skip

    def add_actions(
        self, metavar: str, dest: str = "action"
    ) -> "argparse._SubParsersAction[Parser]":
        """Add a required word, called ``metavar``, that chooses one of several parsers."""
        return self.add_subparsers(
            required=True, dest=dest, metavar=metavar, parser_class=_ActionParser
        )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The values of ``args``; ``-q`` and ``-v`` take effect."""
        parsed = super().parse_args(args, namespace)
        quiet, verbose = getattr(parsed, "quiet", False), getattr(parsed, "verbose", False)
        verbosity.choose(quiet=quiet, verbose=verbose)
        return parsed

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The same, where all options exist: argparse alone would first name missing ones."""
        words = list(sys.argv[1:] if args is None else args)
        if unknown := list(self._unknown(words)):
            self.error("\n".join(map(self._mistyped, unknown)))
        return super().parse_known_args(words, namespace)

    def format_help(self) -> str:
        """The help text, whose first line names what is needed and not every option."""
        if self.usage is None:
            self.usage = " ".join(["%(prog)s", *self._needed()])
        return super().format_help()

    def _needed(self) -> Iterable[str]:
        """The arguments of the usage line: required options, ``[options]`` and positional ones."""
        either = {id(a) for g in self._mutually_exclusive_groups for a in g._group_actions}
        for action in self._actions:
            if action.option_strings and action.required:
                yield f"{action.option_strings[-1]} {action.metavar or action.dest.upper()}"
        for group in self._mutually_exclusive_groups:
            if group.required:
                names = (f"{a.option_strings[-1]} {a.metavar}" for a in group._group_actions)
                yield f"({' | '.join(names)})"
        yield "[options]"
        for action in self._actions:
            if not action.option_strings and id(action) not in either:
                name = str(action.metavar or action.dest.upper())
                name = f"[{name}]" if action.nargs in ("?", "*") else name
                yield name + (" ..." if action.nargs in ("+", "*") else "")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise ArgumentError where ``value`` is not one of the action's choices."""
        if action.choices is not None and value not in action.choices:
            like = nearest(str(value), list(map(str, action.choices)))
            name = "/".join(action.option_strings) or str(action.metavar or action.dest).lower()
            shown = (
                f"{name} {value}: no such choice"
                if action.option_strings
                else f"no {name} {value!r}"
            )
            raise argparse.ArgumentError(None, f"{shown}{like}")

    def _unknown(self, words: Iterable[str]) -> Iterable[str]:
        """Those of ``words`` that are options of no argument of this parser."""
        if "_ARGCOMPLETE" in os.environ:  # the command line is not complete yet
            return
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return  # what follows are no options, or those of a subparser
            name = word.partition("=")[0]
            if re.fullmatch(r"-[A-Za-z].*|--[\w-]+", name) and " " not in word:
                short = name[:2] if not name.startswith("--") else name
                if name not in self._option_string_actions and (
                    short not in self._option_string_actions
                ):
                    yield name

    def _mistyped(self, option: str) -> str:
        close = closest(option, list(self._option_string_actions))
        return f"unknown option {option}" + (f"; did you mean {close}?" if close else "")


class _ActionParser(Parser):
    """The parser of an action, whose ``prog`` argparse makes: the verb's name and the action's."""

    def __init__(self, prog: str, **options: Any) -> None:
        verb = prog.removeprefix(f"{PROGRAM} ").removeprefix("python -m weather_hpc.")
        super().__init__(verb, **options)
