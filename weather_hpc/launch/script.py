"""Rendering job scripts: pure functions from what is asked to text a person can read and run."""

import shlex
from collections.abc import Sequence

from weather_hpc.errors import UserError
from weather_hpc.launch.command import stage_command
from weather_hpc.launch.environment import run_environment
from weather_hpc.paths import StudyPaths
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec


def quote(text: str) -> str:
    """``text`` as one word of a shell. Raises UserError on a line break, which no path needs."""
    if any(sign in text for sign in "\r\n\0"):
        raise UserError(f"{text!r}: a line break cannot be part of a job script")
    return shlex.quote(text)


def command_lines(argv: Sequence[str]) -> str:
    """``argv`` quoted, with each option on a line of its own."""
    lines: list[str] = []
    for word in map(quote, argv):
        if word.startswith("--") or not lines:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return " \\\n    ".join(lines)


def run_script(plan: Plan, spec: RunSpec, paths: StudyPaths, site: SiteProfile) -> str:
    """The whole script of one run: environment, command, and the exit code it leaves behind."""
    run = paths.run(spec.run_id)
    argv = stage_command(plan, spec, paths, site.python)
    exports = [f"export {k}={quote(v)}" for k, v in run_environment(spec, site).items()]
    # the exit code speaks for a run that died before it could write its record
    left = f'"$run/{run.exit.name}"'
    leave = 'printf \'{"code": %d, "ended_at": "%s"}\\n\' "$code" "$(date -u +%FT%TZ)"'
    parts = [
        "#!/usr/bin/env bash",
        f"# {spec.run_id} of study {spec.study}, written by weather_hpc; runs by hand as well",
        "set -uo pipefail",
        *(f"module load {quote(module)}" for module in site.modules),
        *site.setup,
        *exports,
        "",
        f"run={quote(str(run.root))}",
        'mkdir -p "$run"',
        "",
        command_lines(argv) + f' \\\n    >"$run/{run.stdout.name}" 2>"$run/{run.stderr.name}"',
        "code=$?",
        "",
        f"{leave} >{left}.part && mv {left}.part {left}",
        'exit "$code"',
        "",
    ]
    return "\n".join(parts)
