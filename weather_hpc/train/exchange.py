"""Values that ranks exchange at the launcher's store, and how long they wait for each other.

Nothing here waits without limit, and what is waited for is named. Importable without torch.
"""

import json
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weather_hpc.errors import FailedError
from weather_hpc.runs.environment import seconds_from
from weather_hpc.text import counted

if TYPE_CHECKING:
    from weather_hpc.train.ranks import TorchrunEnv

RANK_TIMEOUT = "WEATHER_HPC_RANK_TIMEOUT_S"
"""The variable with the seconds that ranks wait for one that does not arrive or move."""

RANK_TIMEOUT_S = 600.0
"""Its default: more than the slowest single step, compilation or checkpoint should take."""

LONGEST_POLL_S = 0.2


def rank_timeout_s() -> float:
    """Seconds that ranks wait for one that does not move. Raises UserError."""
    return seconds_from(RANK_TIMEOUT, RANK_TIMEOUT_S)


def group_timeout_s() -> float:
    """Time-out of the process group's own waits, s: later, since its errors name no rank."""
    return 2 * rank_timeout_s() + 60


def key(name: str) -> str:
    """``name`` in the store, which torchrun keeps when it restarts ranks."""
    return f"weather_hpc/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}"


FIRST_FAILURE = "first_failure"
"""Name of the first failure of any rank, as JSON with its ``reason``."""

FAILURE_SEEN = "failure_seen"
"""Name that is set once another rank has read the failure of one that has not arrived."""


def exchange(store: Any, env: "TorchrunEnv", name: str, value: Any) -> list[Any]:
    """Every rank's ``value``, which JSON can hold, by rank. Collective.

    Raises FailedError with the reason of a rank that has failed, or naming those that have not
    arrived within :func:`rank_timeout_s`.
    """
    store.set(key(f"{name}/{env.rank}"), json.dumps(value))
    missing = list(range(env.world_size))
    limit_s = rank_timeout_s()
    deadline = time.monotonic() + limit_s
    pause = 0.001
    while missing := [rank for rank in missing if not store.check([key(f"{name}/{rank}")])]:
        if store.check([key(FIRST_FAILURE)]):
            store.set(key(FAILURE_SEEN), "1")
            raise FailedError(json.loads(store.get(key(FIRST_FAILURE)))["reason"])
        if time.monotonic() > deadline:
            raise FailedError(_not_arrived(missing, env, limit_s))
        time.sleep(pause)
        pause = min(LONGEST_POLL_S, 2 * pause)
    return [json.loads(store.get(key(f"{name}/{rank}"))) for rank in range(env.world_size)]


def _not_arrived(missing: Sequence[int], env: "TorchrunEnv", limit_s: float) -> str:
    nodes = sorted({rank // env.local_world_size for rank in missing})
    text = f"{ranks_named(missing)} of {counted(env.world_size, 'rank')} did not arrive within "
    text += f"{limit_s:g} s ({RANK_TIMEOUT})"
    if env.local_world_size < env.world_size:
        text += f": of node {', '.join(map(str, nodes))}, counted from 0"
        if listed := os.environ.get("SLURM_JOB_NODELIST"):
            text += f", of {listed}"
    return f"{text}; see stderr of the missing processes"


def ranks_named(ranks: Sequence[int]) -> str:
    """``rank 1``; ``ranks 0, 2-5``."""
    parts: list[list[int]] = []
    for rank in sorted(ranks):
        if parts and rank == parts[-1][-1] + 1:
            parts[-1].append(rank)
        else:
            parts.append([rank])
    texts = [f"{p[0]}-{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts]
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(texts)
