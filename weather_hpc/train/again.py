"""How to go on with a run that was interrupted, and why a fresh one may not replace another's work.

Importable without torch: a run may be interrupted while that is still loading.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.cli import SAME_AGAIN
from weather_hpc.runs.paths import RunPaths
from weather_hpc.text import counted
from weather_hpc.train.ranks import TorchrunEnv

if TYPE_CHECKING:
    from weather_hpc.train.checkpoint import Checkpoint

DISCARD = "--discard to start afresh"
UNUSABLE = "to start afresh move it away, or give --discard instead of --resume"
"""Where the run's checkpoint cannot be used. A sweep gives --resume always."""


def how_to_go_on(typed: Sequence[str], run_dir: Path | None, env: TorchrunEnv) -> str:
    """What continues the run with the arguments ``typed``, which is ending before its end."""
    if run_dir is None:
        return "nothing is kept without --run-dir"
    if not RunPaths(run_dir).checkpoint.exists():
        return "no checkpoint is written yet: the same command starts afresh"
    if "--resume" in typed:
        return SAME_AGAIN
    words = [word for word in _command(typed, env) if word != "--discard"]
    return f"its checkpoint is kept; continue with: {shlex.join([*words, '--resume'])}"


def _command(typed: Sequence[str], env: TorchrunEnv) -> list[str]:
    """The command that started this run, its launcher included, as it was typed."""
    words = sys.orig_argv
    if env.launched:
        with suppress(OSError):
            parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
            words = [os.fsdecode(word) for word in parent.split(b"\0")[:-1]]
    if not typed or words[-len(typed) :] != list(typed):
        words = ["python", "-m", "weather_hpc.train", *typed]  # the verb was called by a program
    if len(words) > 1 and Path(words[1]).name == "weather-hpc":
        words = ["weather-hpc", *words[2:]]
    return words


def refusal(run_dir: Path, checkpoint: "Checkpoint", epochs: int, different: str) -> str:
    """Why a fresh run of ``epochs`` epochs does not replace ``checkpoint``, and what to do.

    ``different``: how that one's settings differ; empty where it is of the same run.
    """
    done = f"{checkpoint.epoch} of {counted(epochs, 'epoch')}"
    if checkpoint.epoch == epochs and not different:
        done = f"all {counted(epochs, 'epoch')}"
    if different:
        done = counted(checkpoint.epoch, "epoch")
    done += f" and {counted(checkpoint.step, 'step')} of the next" if checkpoint.step else ""
    if different:
        return (
            f"{run_dir}: holds {done} of another run ({different}); choose another --run-dir, or "
            f"give {DISCARD}"
        )
    return f"{run_dir}: holds {done} of this run; give --resume to go on, or {DISCARD}"
