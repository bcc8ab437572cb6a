"""Rows made up for tests: measured runs, as read from records or from foreign logs."""

import csv
import random
from collections.abc import Callable, Iterable
from typing import Any

from tests.conftest import REPOSITORY
from weather_hpc.runs.row import Row


def ddp(workers: int | None, times: Iterable[float], **values: Any) -> list[Row]:
    """Repeats of DDP on ``workers`` GPUs."""
    asked = {
        "study": "s", "stage": "train", "strategy": "ddp", "device": "cuda", "workers": workers,
        "scaling": "strong", "batch_size_per_device": 32, "batch_mode": "per-device",
        "batch_size_global": workers and 32 * workers, **values,
    }  # fmt: skip
    return _repeats("training", asked, times)


def training(
    strategy: str, workers: int | None, times: Iterable[float], **values: Any
) -> list[Row]:
    """Repeats of ``strategy``, on GPUs if ``values`` do not say otherwise."""
    return ddp(workers, times, strategy=strategy, **values)


def packing(backend: str, workers: int, times: Iterable[float], **values: Any) -> list[Row]:
    """Repeats of preprocessing by ``workers`` of ``backend``."""
    asked = {
        "study": "s", "stage": "preprocess", "backend": backend, "workers": workers,
        "scaling": "strong", **values,
    }  # fmt: skip
    return _repeats("preprocess", asked, times)


def _repeats(table: str, asked: dict[str, Any], times: Iterable[float]) -> list[Row]:
    images = asked.get("images_asked", 1000)
    name = "-".join(str(value) for value in asked.values())
    return [
        Row(
            run_id=f"{name}-r{repeat}", source="x", status="ok", table=table, configuration=name,
            repeat=repeat, **{"time_s": time_s, "images_per_s": images / time_s, **asked},
        )
        for repeat, time_s in enumerate(times)
    ]  # fmt: skip


def scaled(
    time_of: Callable[[int], float], sizes: Iterable[int], repeats: int, noise: float, seed: int = 0
) -> list[Row]:
    """DDP on each of ``sizes`` GPUs, its times around ``time_of`` with a relative ``noise``."""
    generator = random.Random(seed)
    return [
        row
        for size in sizes
        for row in ddp(size, [time_of(size) * generator.gauss(1, noise) for _ in range(repeats)])
    ]


def usl_time(contention: float, coherency: float) -> Callable[[int], float]:
    """The time, in seconds, that the USL gives N workers for what takes one 100 s."""
    return lambda n: 100 / n * (1 + contention * (n - 1) + coherency * n * (n - 1))


def paper(name: str) -> list[dict[str, str]]:
    """A table of the reproduced study, as published."""
    with (REPOSITORY / "results" / "paper" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def paper_ddp() -> list[Row]:
    """The paper's DDP runs as a foreign log tells them: no study, no baseline, no batch mode."""
    unknown = {"study": None, "scaling": None, "batch_size_global": None, "batch_mode": None}
    return [
        row
        for line in paper("ddp_rtx3070")
        for row in ddp(
            int(line["gpus"]), [float(line["time_s"])], images_per_s=None,
            **unknown | {"batch_size_per_device": int(line["batch_size"])},
        )
    ]  # fmt: skip


def paper_preprocessing() -> list[Row]:
    """The paper's preprocessing runs."""
    return [
        row
        for line in paper("preprocess")
        for row in packing(line["backend"], int(line["workers"]), [float(line["time_s"])])
    ]
