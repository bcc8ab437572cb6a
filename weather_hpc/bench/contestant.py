"""Contestant: one way to do the work, and what it left behind when it has done it."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What one measured process left: its folder, what it printed and what it reported."""

    folder: Path
    """Its working folder, empty when it began; removed once the outcome is checked."""
    stdout: Path
    facts: dict[str, Any]
    """What it reported beside its seconds; see weather_hpc.bench.child."""


def anything_goes(outcome: Outcome) -> None:
    """The check of a contestant whose exit code says enough."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work. Each measurement is a fresh process in an empty folder."""

    name: str
    what: str
    """What it is, in one line."""
    command: tuple[str, ...]
    """Never a shell's: program and arguments. For a function see :func:`python_function`."""
    threads: int = 1
    """Compute threads per process, set by the variables that NumPy and its like read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables; the caller's own are inherited."""
    missing: str | None = None
    """Why it cannot run here, such as a package that is not installed; None: it can."""
    warmup: bool = False
    """Whether it runs once, checked but not counted, before the first round."""
    timeout_s: float = 3600.0
    check: Callable[[Outcome], None] = anything_goes
    """Raises FailedError, in one line, where the outcome is wrong."""


def python_function(target: str, **arguments: Any) -> tuple[str, ...]:
    """The command that calls ``package.module:function`` in a fresh interpreter.

    The function is called as ``function(clock, **arguments)``, with a records.clock.Clock and
    JSON-able ``arguments``. It times its work with ``clock.phase(MEASURED)``, so that imports and
    preparations stay outside, and returns JSON-able facts (a dict), which its check is given.
    """
    return (sys.executable, "-m", "weather_hpc.bench.child", target, json.dumps(arguments))
