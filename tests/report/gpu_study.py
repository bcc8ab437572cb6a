"""A small study on GPUs as a sweep leaves it, made up: records, events, telemetry, jobs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.records_maker import leave, measured, train_spec
from weather_hpc.files import append_csv, write_json
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import RunRecord

BEGIN = datetime(2026, 1, 10, 9, 0, tzinfo=UTC)
"""When the study's first job was submitted."""

TIMES = {("single", 1): 20.0, ("ddp", 2): 18.0, ("ddp", 4): 45.0}
"""Seconds of measured time: four GPUs are slower than one."""
USE = {1: 92.0, 2: 60.0, 4: 31.0}
"""Percent of time with a kernel, by GPUs."""
FOREIGN = 150.0
"""CPU use by others in the middle of each run, % of one core."""


def leave_gpu_study(root: Path, repeats: int = 3, samples: int = 12) -> list[RunRecord]:
    """Write the runs of a study on GPUs into ``root``, one after the other in time."""
    records = []
    for number, (repeat, strategy, ranks) in enumerate(
        (repeat, *world) for repeat in range(repeats) for world in TIMES
    ):
        submitted = BEGIN + timedelta(minutes=4 * number)
        time_s = TIMES[strategy, ranks] * (1 + 0.01 * repeat)
        record = gpu_record(strategy, ranks, time_s, submitted + timedelta(seconds=90), repeat)
        run = leave(root, record)
        leave_job(run, submitted, queue_s=90.0, elapsed_s=time_s + 15.0)
        leave_telemetry(run, submitted + timedelta(seconds=100), time_s, ranks, samples)
        records.append(record)
    return records


def gpu_record(
    strategy: str, ranks: int, time_s: float, started: datetime, repeat: int = 0, **changes: Any
) -> RunRecord:
    """A record of training on ``ranks`` GPUs of one node with 16 CPUs."""
    resources = {
        "nodes": 1, "cpus_per_node": 4 * ranks, "gpus_per_node": ranks, "time_limit_min": 30,
    }  # fmt: skip
    spec = train_spec(strategy, ranks, repeat, task={"device": "cuda"}, resources=resources)
    usage = {
        "device_use_percent": USE[ranks], "energy_j": 150.0 * ranks * time_s,
        "host_cpu_percent": 110.0 * ranks + FOREIGN / 3, "foreign_cpu_percent": FOREIGN / 3,
    }  # fmt: skip
    values: dict[str, Any] = {
        "actual": {"device": "cuda"},
        "usage": usage,
        "provenance": {
            "started_at": started.isoformat(),
            "memory_mb": 64_000.0,
            "slurm": {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "32000"},
        },
        "phases": {"startup": 8.0, "total": time_s + 12.0},
    }
    return measured(spec, time_s, **values | changes)


def leave_job(
    run: RunPaths, submitted: datetime, *, queue_s: float, elapsed_s: float, **changes: Any
) -> None:
    """The run's Slurm job, as accounting knows it."""
    started = submitted + timedelta(seconds=queue_s)
    job = {
        "job_id": "7", "name": "demo", "state": "COMPLETED", "status": "ok", "source": "sacct",
        "submitted_at": submitted.isoformat(), "started_at": started.isoformat(),
        "ended_at": (started + timedelta(seconds=elapsed_s)).isoformat(),
        "queue_s": queue_s, "elapsed_s": elapsed_s, "nodes": 1, "node_list": "node1",
        "max_rss_mb": 2_500.0,
    }  # fmt: skip
    write_json(run.slurm, job | changes)


def leave_telemetry(
    run: RunPaths, begin: datetime, time_s: float, ranks: int, samples: int = 12
) -> None:
    """Its telemetry, and events of two epochs with an evaluation after each."""
    start = begin.timestamp()
    epoch_s, evaluation_s = time_s / 2, 0.1 * time_s
    events: list[dict[str, Any]] = [{"event": "input", "at": start}]
    for epoch in (1, 2):
        at = start + epoch * (epoch_s + evaluation_s)
        events.append({"event": "epoch", "at": at, "epoch": epoch, "time_s": epoch_s, "loss": 1.0})
        events.append({"event": "checkpoint", "at": at + 0.01 * time_s, "epoch": epoch})
    run.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    rows = []
    for number in range(1, samples + 1):
        share = number / samples
        foreign = FOREIGN if 0.4 < share < 0.7 else 0.0
        rows.append(
            {
                "at": round(start + share * 1.2 * time_s, 3),
                "host_cpu_percent": 105.0 * ranks + foreign + 10.0 * (number % 3),
                "host_memory_mb": 6000.0 + 100 * number,
                "foreign_cpu_percent": foreign,
                "device_use_percent": USE[ranks] + number % 4,
                "device_memory_mb": 3000.0 * ranks,
                "device_power_w": 150.0 * ranks + 5 * (number % 5),
            }
        )
    append_csv(run.telemetry, list(rows[0]), rows)
