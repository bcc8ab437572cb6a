"""Inside a measured process: call one function, report its own seconds.

A program in any language may do the same: it writes ``{"seconds": s, "facts": {...}}`` to the file
that the variable named by REPORT names. Without it, a process is timed from start to end.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from weather_hpc.files import write_json
from weather_hpc.runs.clock import Clock

REPORT = "WEATHER_HPC_BENCH_REPORT"
MEASURED = "measured"


def main(target: str, arguments: str) -> None:
    """Call ``target`` (package.module:function) with ``arguments`` (a JSON object)."""
    module, _, function = target.partition(":")
    clock = Clock()
    facts = getattr(importlib.import_module(module), function)(clock, **json.loads(arguments))
    report = {"seconds": clock.seconds[MEASURED], "facts": facts or {}}
    write_json(Path(os.environ[REPORT]), report)


def python_function(target: str, **arguments: Any) -> tuple[str, ...]:
    """The command that calls ``package.module:function`` in a fresh interpreter.

    The function is called as ``function(clock, **arguments)``, with a records.clock.Clock and
    JSON-able ``arguments``. It times its work with ``clock.phase(MEASURED)``, so that imports and
    preparations stay outside, and returns JSON-able facts (a dict), which its check is given.
    """
    return (sys.executable, "-m", "weather_hpc.bench.timed_function", target, json.dumps(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
