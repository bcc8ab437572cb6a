"""What a study must give, whatever was killed on the way: equal to the bit, nothing twice."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weather_hpc.files import short_hash
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.train.checkpoint import load_checkpoint

IMAGES_PER_CLASS = 8

STUDY = """\
name: soak
repeats: 1
image_size: 48
time_limit_min: 5
preprocess:
  - backend: sequential
  - {backend: [BACKENDS], workers: 2}
eda:
  - {backend: multiprocessing, workers: 2}
train:
  - {strategy: single, device: cpu, model: weather_net, batch_size: 8, epochs: 40}
  - {strategy: [ddp, model], device: cpu, world_size: 2, model: weather_net, batch_size: 8,
     epochs: 40}
"""


def study(on_slurm: bool) -> str:
    """The study as YAML; on Slurm with workers that are jobs, too."""
    backends = ["multiprocessing", "dask", *(["dask-jobqueue"] if on_slurm else [])]
    return STUDY.replace("BACKENDS", ", ".join(backends))


def outcome(paths: StudyPaths) -> dict[str, Any]:
    """All results of a finished study but its times, by run_id; floats are not rounded."""
    runs = {folder.name: _run(RunPaths(folder)) for folder in sorted(paths.runs.iterdir())}
    stores = {store.name: _checksum(store) for store in sorted(paths.stores.iterdir())}
    return {"runs": runs, "stores": stores}


def _run(run: RunPaths) -> dict[str, Any]:
    record = json.loads(run.record.read_text())
    found = {key: record[key] for key in ("status", "counts", "quality")}
    events = [json.loads(line) for line in run.events.read_text().splitlines()]
    found["epochs"] = _epochs(events)
    found["explored"] = [event["sha256"] for event in events if event["event"] == "results"]
    if run.checkpoint.exists():
        weights = load_checkpoint(run.checkpoint).best
        found["weights"] = short_hash({name: value.tolist() for name, value in weights.items()}, 64)
    if run.evaluation.exists():
        found["evaluation"] = json.loads(run.evaluation.read_text())
    return found


def _epochs(events: list[dict[str, Any]]) -> list[list[Any]]:
    """What was recorded of each epoch; a resumed run repeats what its checkpoint lacks."""
    epochs: list[list[Any]] = []
    for event in events:
        if event["event"] == "resume":
            epochs = [epoch for epoch in epochs if epoch[0] <= event["epoch"]]
        elif event["event"] == "epoch":
            epochs.append([event[key] for key in ("epoch", "loss", "accuracy", "test_accuracy")])
    return epochs


def _checksum(store: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(store.rglob("*")):
        if path.is_file() and path.name != "header.json":
            whole.update(path.read_bytes())
    return whole.hexdigest()


def differences(found: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    """Where a finished study differs from the unbroken one, each in a line."""
    for part in ("runs", "stores"):
        for name in sorted(found[part].keys() | expected[part].keys()):
            mine, other = found[part].get(name), expected[part].get(name)
            if mine is None or other is None:
                yield f"{name}: is {'missing' if mine is None else 'too many'}"
            elif mine != other and isinstance(mine, dict):
                for key in mine.keys() | other.keys():
                    if mine.get(key) != other.get(key):
                        yield f"{name}: {key} differs: {mine.get(key)} instead of {other.get(key)}"
            elif mine != other:
                yield f"{name}: differs"


def repeated(paths: StudyPaths) -> Iterator[str]:
    """Runs with several rows in the collected table, and epochs that are recorded twice."""
    with paths.rows.open(newline="") as file:
        rows = Counter(row["run_id"] for row in csv.DictReader(file))
    yield from (f"{run}: has {count} rows" for run, count in rows.items() if count > 1)
    for folder in sorted(paths.runs.iterdir()):
        epochs = [epoch[0] for epoch in _run(RunPaths(folder))["epochs"]]
        if epochs != list(range(1, len(epochs) + 1)):
            yield f"{folder.name}: epochs {epochs}"
