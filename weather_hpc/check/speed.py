"""How fast a GPU trains: time per kernel, power and energy, and ``bench train`` with its goals."""

import importlib.util
import json
import os
import shutil
import sys
from dataclasses import asdict

import torch

from weather_hpc.bench.benchmark import GoalResult
from weather_hpc.bench.train import ON_CUDA
from weather_hpc.bench.train_implementations import FABRIC, NAIVE, Variant, whole_training_goal
from weather_hpc.check.runs import clean_environment, run_process, tail
from weather_hpc.check.session import PAPER, Check, NotDoneError, Passed, Session, WrongError
from weather_hpc.errors import FailedError
from weather_hpc.files import write_text
from weather_hpc.runs.gpus import MIG

VARIANTS = [
    Variant("fp32", "contiguous", "eager"),
    Variant("tf32", "channels-last", "graph"),
    Variant("bf16", "contiguous", "graph"),
    Variant("bf16", "channels-last", "graph"),
    Variant("bf16", "channels-last", "compiled-graph"),
]
"""The variants that are measured here; ``bench train`` has the time for all."""

ROUND_S = 110.0
"""About the time of one round of the benchmark, most of it start-up of nine processes."""

RESERVE_S = 20.0
"""Time left to the end of the verb when the benchmark is stopped."""


def checks_of_speed() -> list[Check]:
    """The benchmark comes last and takes the remaining time."""
    return [
        Check("kernels of a step", 30, kernels),
        Check("telemetry and energy", 25, telemetry),
        Check("bench train and its goals", 120, benchmark),
    ]


def kernels(session: Session) -> Passed:
    """Kernels by time for some variants, as tables in kernels.txt."""
    from torch.profiler import ProfilerActivity, profile, supported_activities

    from weather_hpc.bench import train_functions

    if ProfilerActivity.CUDA not in supported_activities():  # type: ignore[no-untyped-call]
        raise NotDoneError("this build of torch cannot profile GPU kernels")
    text, figures = [], {}
    for variant in (VARIANTS[0], VARIANTS[1], VARIANTS[3]):
        store = session.store(PAPER, ON_CUDA)
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            timed = train_functions.ours(variant=asdict(variant), store=str(store), images=2048,
                                         batch=32, device="cuda", epochs=1)  # fmt: skip
        averages = profiled.key_averages()
        table = averages.table(sort_by="self_cuda_time_total", row_limit=25,
                               max_name_column_width=90)  # fmt: skip
        text.append(f"{variant.name}: 2048 images, batch 32\n{table}")
        figures[f"{variant.name}, epoch of 2048 images, s"] = timed.seconds
    path = session.paths.kernels
    write_text(path, "\n".join(text))
    return Passed(f"{len(text)} tables in {path.name}", figures)


def telemetry(session: Session) -> Passed:
    """The record of a run of some seconds has device use, energy and the driver's version."""
    ran = session.runs.here(
        "--store", session.store(PAPER, ON_CUDA), "--device", "cuda", "--execution", "graph",
        "--precision", "bf16", "--batch-size", 256, "--epochs", 40,
    )  # fmt: skip
    for path in (ran.paths.record, ran.paths.telemetry, ran.paths.gpus):
        if path.exists():
            shutil.copy(path, session.paths.root / path.name)
    usage, driver = ran.record["usage"], ran.record["provenance"]["driver"]
    if importlib.util.find_spec("pynvml") is None:
        raise NotDoneError("nvidia-ml-py is not installed, which reads use and energy of GPUs")
    if _is_instance():
        raise NotDoneError("a GPU instance (MIG) has no use and energy of its own")
    figures = {"time_s": ran.record["time_s"], "images_per_s": ran.record["images_per_s"],
               **{k: v for k, v in usage.items() if v is not None}}  # fmt: skip
    missing = [name for name in ("energy_j", "device_use_percent") if usage[name] is None]
    missing += ["driver"] if driver is None else []
    if missing:
        text = f"the record has no {', '.join(missing)}: may this user query the driver?"
        raise WrongError(text, figures)
    return Passed(
        f"40 epochs in {ran.record['time_s']:.3g} s, {usage['energy_j']:.0f} J, GPU used "
        f"{usage['device_use_percent']:.0f} %, driver {driver}", figures,
    )  # fmt: skip


def _is_instance() -> bool:
    return str(torch.cuda.get_device_properties(0).uuid).startswith(MIG) or (
        os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith(MIG)
    )


def benchmark(session: Session) -> Passed:
    """``bench train --device cuda``: naive code, peers, ours; 20 epochs of the fastest variant."""
    names = [NAIVE, FABRIC, *(variant.name for variant in VARIANTS), "ddp"]
    only = [argument for name in names for argument in ("--only", name)]
    argv = [sys.executable, "-m", "weather_hpc.bench", "train", "--device", "cuda",
            "--store", str(session.store(PAPER, ON_CUDA)), "--rounds", str(_rounds(session)),
            "--epochs", "2",
            "--out", str(session.paths.root), *only]  # fmt: skip
    path = session.paths.root / "bench-train.json"
    path.unlink(missing_ok=True)  # of an earlier call
    timeout_s = max(1.0, session.left_s() - RESERVE_S)
    torch.cuda.empty_cache()  # frees memory of earlier checks for the benchmark
    try:
        done = run_process(argv, clean_environment(), timeout_s)
    except FailedError as error:
        raise NotDoneError(f"bench train {error}") from None
    if not path.exists():
        raise WrongError(f"bench train ended with {done.returncode}: {tail(done.stderr)}")
    result = json.loads(path.read_bytes())
    goals = [str(GoalResult(**goal, rounds=result["rounds"])) for goal in result["goals"]]
    figures = {f"{one['name']}, s": one["median_s"] for one in result["contestants"]}
    if whole := result["whole_training"]:
        goals.append(whole_training_goal(whole))
        figures["20 epochs, s"] = whole["time_s"]
    if done.returncode:
        failed = [f"{c['name']}: {c['reason']}" for c in result["contestants"] if c["failed"]]
        raise WrongError("; ".join([*failed, *goals]) or tail(done.stderr), figures)
    # a missed goal is no failure: goals were set on one model of GPU, and this may be another
    return Passed("; ".join(goals), figures)


def _rounds(session: Session) -> int:
    """As many rounds as there is time for, at most the three that give an interval."""
    return max(1, min(3, int((session.left_s() - RESERVE_S) // ROUND_S)))
