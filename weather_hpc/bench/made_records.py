"""Run folders as sweeps leave them, made by rule and without running anything."""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weather_hpc.runs.record import RunRecord
    from weather_hpc.study.spec import RunSpec

STUDIES = 10
"""Study folders over which runs are spread, so that a tenth of them is a folder too."""

IMAGES = 6862
SERIAL_FRACTION = 0.05
NOISE = 0.02
"""Relative standard deviation of repeats."""


def study_folder(index: int) -> str:
    """The name of one of the study folders."""
    return f"study-{index}"


def make_records(folder: Path, count: int) -> None:
    """Write ``count`` run folders into ``folder``, a tenth of them into each study.

    One in five is a preprocessing run, the others are training; all are valid and consistent.
    """
    from weather_hpc import cli
    from weather_hpc.runs.paths import StudyPaths

    with cli.progress("making run records", total=count) as advance:
        for index in range(count):
            study = study_folder(index % STUDIES)
            spec = _spec(study, index // STUDIES)
            run = StudyPaths(folder / study).run(spec.run_id)
            run.root.mkdir(parents=True)
            record = _record(spec, index)
            # not through weather_hpc.files: made anew if anything is lost, so nothing is synced
            run.spec.write_text(json.dumps(spec.as_dict()))
            run.record.write_text(record.model_dump_json(indent=2))
            if spec.task.kind == "train":
                run.events.write_text(_events(spec.task.epochs))
            advance()


def _spec(study: str, number: int) -> "RunSpec":
    """The ``number``-th run of a study: configurations in turn, then their next repeat."""
    from weather_hpc.study.spec import RunSpec

    configurations = _CONFIGURATIONS
    task = configurations[number % len(configurations)]
    fields = {
        "study": study,
        "stage": task["kind"],
        "data": "/images",
        "repeat": number // len(configurations),
        "task": task,
    }
    return RunSpec.model_validate(fields)


def _training(world_size: int, batch_size: int) -> dict[str, Any]:
    return {
        "kind": "train", "strategy": "ddp" if world_size > 1 else "single", "device": "cpu",
        "world_size": world_size, "batch_size": batch_size, "epochs": 20,
    }  # fmt: skip


def _preprocessing(backend: str, workers: int) -> dict[str, Any]:
    return {"kind": "preprocess", "backend": backend, "workers": workers}


_CONFIGURATIONS = [
    *(_training(size, batch) for size in (1, 2, 3, 4) for batch in (32, 64, 128, 256)),
    _preprocessing("sequential", 1),
    *(_preprocessing("multiprocessing", workers) for workers in (1, 2, 4)),
]


def _record(spec: "RunSpec", index: int) -> "RunRecord":
    from weather_hpc.runs.record import RankInfo, RunRecord

    task = spec.task
    draw = random.Random(index)
    epochs = task.epochs if task.kind == "train" else None
    workers = task.world_size if task.kind == "train" else task.workers
    alone = 8.0 * epochs if epochs else 60.0
    seconds = alone * (SERIAL_FRACTION + (1 - SERIAL_FRACTION) / workers)
    seconds *= max(0.5, draw.gauss(1.0, NOISE))
    ranks = [
        RankInfo(
            rank=rank, host="node1", pid=10 * index + rank, device="cpu",
            cpus=[rank], threads=1, memory_peak_mb=900.0,
        )
        for rank in range(workers)
    ]  # fmt: skip
    value = {
        "run_id": spec.run_id,
        "status": "ok",
        "spec": spec.model_dump(mode="json"),
        "actual": {
            "nodes": 1, "world_size": workers, "device": "cpu",
            "ranks": [rank.model_dump() for rank in ranks],
        },
        "time_s": seconds,
        "images_per_s": IMAGES * (epochs or 1) / seconds,
        "phases": {"startup": 2.0, "compute": seconds, "total": seconds + 3.0},
        "counts": {"images": IMAGES, "epochs": epochs, "quarantined": 0},
        "quality": {"test_accuracy": 0.55, "train_loss": 1.2} if epochs else {},
        "usage": {"foreign_cpu_percent": 1.0, "host_memory_peak_mb": 900.0},
        "provenance": {
            "started_at": "2026-01-01T00:00:00+00:00", "host": "node1", "cpu_model": "A CPU",
            "cpu_count": 16, "commit": "c0ffee", "dirty": False,
            "packages": {"python": "3.11.2", "numpy": "2.0"},
        },
    }  # fmt: skip
    return RunRecord.model_validate(value)


def _events(epochs: int) -> str:
    events = ({"event": "epoch", "epoch": e, "train_loss": 2.0 / (1 + e)} for e in range(epochs))
    return "".join(json.dumps(event) + "\n" for event in events)
