"""Run folders made up for tests: what a sweep leaves behind, without running anything."""

import json
from pathlib import Path
from typing import Any

from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import RankInfo, RunRecord
from weather_hpc.study.spec import RunSpec


def preprocess_spec(backend: str, workers: int, repeat: int = 0, **spec: Any) -> RunSpec:
    """A spec of a preprocessing run; ``task`` among the keywords changes its settings."""
    task = {"kind": "preprocess", "backend": backend, "workers": workers, **spec.pop("task", {})}
    fields = {"study": "demo", "stage": "preprocess", "data": "/images", "repeat": repeat, **spec}
    return RunSpec.model_validate(fields | {"task": task})


def train_spec(strategy: str, world_size: int, repeat: int = 0, **spec: Any) -> RunSpec:
    """A spec of a training run on the CPU; ``task`` among the keywords changes its settings."""
    task = {
        "kind": "train", "strategy": strategy, "device": "cpu", "world_size": world_size,
        "batch_size": 32, "epochs": 2, **spec.pop("task", {}),
    }  # fmt: skip
    fields = {"study": "demo", "stage": "train", "data": "/images", "repeat": repeat, **spec}
    return RunSpec.model_validate(fields | {"task": task})


def measured(spec: RunSpec, time_s: float | None, **changes: Any) -> RunRecord:
    """A record of ``spec`` as a healthy run leaves it.

    ``changes`` replace fields; a dict is merged into the part of its name.
    """
    task = spec.task
    train = task.kind == "train"
    count = task.world_size if task.kind == "train" else task.workers
    number = int(spec.run_id[-6:], 16) + 1000 * spec.repeat
    images = 100 if task.images is None else task.images
    handled = images * (task.epochs if task.kind == "train" else 1)
    ranks = [
        RankInfo(rank=rank, host="node1", pid=number + rank, cpus=list(range(count)), threads=1)
        for rank in range(count)
    ]
    value = {
        "schema_version": 1,
        "run_id": spec.run_id,
        "status": "ok",
        "reason": None,
        "spec": spec.model_dump(mode="json"),
        "actual": {
            "nodes": 1, "world_size": count, "device": "cpu",
            "ranks": [rank.model_dump() for rank in ranks],
        },
        "time_s": time_s,
        "images_per_s": handled / time_s if time_s else None,
        "phases": {"startup": 0.5, "compute": time_s, "total": time_s and time_s + 1.0},
        "counts": {"images": images, "epochs": task.epochs if task.kind == "train" else None},
        "quality": {"test_accuracy": 0.5} if train else {"store_checksum": "ab" * 32},
        "usage": {"foreign_cpu_percent": 1.0},
        "provenance": {
            "started_at": "2026-01-01T00:00:00+00:00", "host": "node1", "cpu_model": "A CPU",
            "cpu_count": 16, "commit": "c0ffee", "packages": {"numpy": "2.0"},
        },
    }  # fmt: skip
    for name, change in changes.items():
        old = value.get(name)
        value[name] = old | change if isinstance(old, dict) and isinstance(change, dict) else change
    return RunRecord.model_validate(value)


def leave(root: Path, record: RunRecord, epochs: int | None = None) -> RunPaths:
    """Write ``record`` where a sweep into ``root`` would; training gets its events."""
    run = StudyPaths(root).run(record.run_id)
    run.root.mkdir(parents=True)
    run.spec.write_text(json.dumps(record.spec.as_dict()))
    record.write(run.record)
    task = record.spec.task
    if task.kind == "train":
        count = task.epochs if epochs is None else epochs
        lines = [{"event": "epoch", "epoch": e, "train_loss": 2.0 / (e + 1)} for e in range(count)]
        run.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def leave_all(root: Path, records: list[RunRecord]) -> None:
    """Write every record into ``root``."""
    for record in records:
        leave(root, record)
