"""How fast a GPU trains: where a step's time goes, what it draws, and the race with its goals."""

import importlib.util
import json
import os
import shutil
import sys
from typing import Any

import torch

from weather_hpc.bench.train import ON_CUDA
from weather_hpc.bench.train_implementations import FABRIC, NAIVE, Way
from weather_hpc.check.runs import alone, finished, last_words
from weather_hpc.check.session import PAPER, Check, Found, NotDoneError, Session, WrongError
from weather_hpc.errors import FailedError
from weather_hpc.runs.clock import Clock
from weather_hpc.runs.gpus import MIG

BIG = ON_CUDA
"""Images: as many as the study trains on."""

WAYS = [
    Way("fp32", "contiguous", "eager"),
    Way("tf32", "channels-last", "graph"),
    Way("bf16", "contiguous", "graph"),
    Way("bf16", "channels-last", "graph"),
    Way("bf16", "channels-last", "compiled-graph"),
]
"""Those that race; others are left to ``bench train``, which has the time for them."""

ROUND_S = 110.0
"""About what one round of the race takes, most of it the starting of nine processes."""

LAST_S = 20.0
"""What is left to the end of the verb when the race is told to be over."""


def checks_of_speed() -> list[Check]:
    """The race comes last: it takes what time is left."""
    return [
        Check("kernels of a step", 30, kernels),
        Check("telemetry and energy", 25, telemetry),
        Check("bench train and its goals", 120, race),
    ]


def kernels(session: Session) -> Found:
    """A table of kernels by time for each of some ways, in kernels.txt."""
    from torch.profiler import ProfilerActivity, profile, supported_activities

    from weather_hpc.bench import train_functions

    if ProfilerActivity.CUDA not in supported_activities():  # type: ignore[no-untyped-call]
        raise NotDoneError("this build of torch profiles no kernels of GPUs")
    text, figures = [], {}
    for way in (WAYS[0], WAYS[1], WAYS[3]):
        store = session.store(PAPER, BIG)
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            clock = Clock()
            train_functions.ours(clock, way=vars(way), store=str(store), images=2048, batch=32,
                            device="cuda", epochs=1)  # fmt: skip
        averages = profiled.key_averages()
        table = averages.table(sort_by="self_cuda_time_total", row_limit=25,
                               max_name_column_width=90)  # fmt: skip
        text.append(f"{way.name}: 2048 images, batch 32\n{table}")
        figures[f"{way.name}, epoch of 2048 images, s"] = sum(clock.seconds.values())
    path = session.paths.kernels
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text), encoding="utf-8")
    return Found(f"{len(text)} tables in {path.name}", figures)


def telemetry(session: Session) -> Found:
    """A run of some seconds has use, energy and the driver's version in its record."""
    ran = session.runs.here(
        "--store", session.store(PAPER, BIG), "--device", "cuda", "--execution", "graph",
        "--precision", "bf16", "--batch-size", 256, "--epochs", 40,
    )  # fmt: skip
    for path in (ran.paths.record, ran.paths.telemetry, ran.paths.gpus):
        if path.exists():
            shutil.copy(path, session.paths.root / path.name)
    usage, driver = ran.record["usage"], ran.record["provenance"]["driver"]
    if importlib.util.find_spec("pynvml") is None:
        raise NotDoneError("nvidia-ml-py is not installed, by which GPUs are asked")
    if _is_instance():
        raise NotDoneError("an instance of a GPU (MIG) has no use and energy of its own")
    figures = {"time_s": ran.record["time_s"], "images_per_s": ran.record["images_per_s"],
               **{k: v for k, v in usage.items() if v is not None}}  # fmt: skip
    missing = [name for name in ("energy_j", "device_use_percent") if usage[name] is None]
    missing += ["driver"] if driver is None else []
    if missing:
        told = f"the record has no {', '.join(missing)}: may this user ask the driver?"
        raise WrongError(told, figures)
    return Found(
        f"40 epochs in {ran.record['time_s']:.3g} s, {usage['energy_j']:.0f} J, GPU used "
        f"{usage['device_use_percent']:.0f} %, driver {driver}", figures,
    )  # fmt: skip


def _is_instance() -> bool:
    return str(torch.cuda.get_device_properties(0).uuid).startswith(MIG) or (
        os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith(MIG)
    )


def race(session: Session) -> Found:
    """``bench train --device cuda``: naive code, peers, ours; and 20 epochs in the fastest way."""
    names = [NAIVE, FABRIC, *(way.name for way in WAYS), "ddp"]
    words = [word for name in names for word in ("--only", name)]
    argv = [sys.executable, "-m", "weather_hpc.bench", "train", "--device", "cuda",
            "--store", str(session.store(PAPER, BIG)), "--rounds", str(_rounds(session)),
            "--epochs", "2",
            "--out", str(session.paths.root), *words]  # fmt: skip
    path = session.paths.root / "bench-train.json"
    path.unlink(missing_ok=True)  # an earlier call's is not this one's
    timeout_s = max(1.0, session.left_s() - LAST_S)
    torch.cuda.empty_cache()  # what earlier checks have kept, contestants may need
    try:
        done = finished(argv, alone(), timeout_s)
    except FailedError as error:
        raise NotDoneError(f"the race {error}") from None
    if not path.exists():
        raise WrongError(f"bench train ended with {done.returncode}: {last_words(done.stderr)}")
    told = json.loads(path.read_bytes())
    goals = [line for line in done.stderr.splitlines() if line.startswith("goal ")]
    figures = _figures(told)
    if done.returncode:
        failed = [f"{c['name']}: {c['reason']}" for c in told["contestants"] if c["failed"]]
        raise WrongError("; ".join([*failed, *goals]) or last_words(done.stderr), figures)
    # a goal that is missed is told: it was set for one model of GPU, and this may be another
    return Found("; ".join(goals), figures)


def _rounds(session: Session) -> int:
    """As many as there is time for, up to those that give an interval."""
    return max(1, min(3, int((session.left_s() - LAST_S) // ROUND_S)))


def _figures(told: dict[str, Any]) -> dict[str, Any]:
    found = {f"{one['name']}, s": one["median_s"] for one in told["contestants"]}
    if told.get("whole_training"):
        found["20 epochs, s"] = told["whole_training"]["time_s"]
    return found
