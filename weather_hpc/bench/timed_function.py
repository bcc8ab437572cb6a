"""Run one function in a process of its own and report the seconds that it measured itself.

A program in any language can report too: it writes ``{"seconds": s, "facts": {...}}`` to the file
named by the variable REPORT. Without a report, a process is timed from start to end.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weather_hpc.files import write_json

REPORT = "WEATHER_HPC_BENCH_REPORT"


@dataclass(frozen=True)
class Timed:
    """What a measured function returns."""

    seconds: float
    """Of its work alone, without imports and preparation."""
    facts: dict[str, Any]
    """JSON-able; the check of the implementation reads them."""


def function_command(target: str, **arguments: Any) -> tuple[str, ...]:
    """The command that calls ``package.module:function`` in a fresh interpreter.

    The function is called with the JSON-able ``arguments`` and returns a :class:`Timed`.
    """
    return (sys.executable, "-m", "weather_hpc.bench.timed_function", target, json.dumps(arguments))


def main(target: str, arguments: str) -> None:
    """Call ``target`` (package.module:function) with ``arguments`` (a JSON object)."""
    module, _, name = target.partition(":")
    function: Callable[..., Timed] = getattr(importlib.import_module(module), name)
    write_json(Path(os.environ[REPORT]), asdict(function(**json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
