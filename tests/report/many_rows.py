"""Rows of very many runs, made in memory."""

from weather_hpc.runs.row import Code, Finding, Row, Severity

WORLDS = [("single", 1)] + [(s, 2**k) for s in ("dp", "ddp", "model") for k in range(8)]
BATCHES = [16, 32, 64, 128, 256, 512]


def many_rows(configurations: int, repeats: int) -> list[Row]:
    """Training runs; one in 25 failed, each for a reason with a number of its own."""
    rows = []
    for number in range(configurations):
        strategy, ranks = WORLDS[number % len(WORLDS)]
        batch = BATCHES[number // len(WORLDS) % len(BATCHES)]
        epochs = 1 + number // (len(WORLDS) * len(BATCHES))
        for repeat in range(repeats):
            failed = (number * repeats + repeat) % 25 == 7
            time_s = 500.0 / ranks**0.8 * (1 + 0.03 * ((number * 7 + repeat * 13) % 11) / 11)
            identity = f"train-{strategy}-cpu-w{ranks}-b{batch}-{number:08x}"
            rows.append(
                Row(
                    run_id=f"{identity}-r{repeat}",
                    source=f"runs/{identity}-r{repeat}",
                    status="failed" if failed else "ok",
                    table=None if failed else "training",
                    reason=f"rank {number % 7} on node{repeat} ended with 137" if failed else None,
                    study="many",
                    stage="train",
                    configuration=identity,
                    repeat=repeat,
                    scaling="strong",
                    data="/images",
                    workers=ranks,
                    image_size_px=256,
                    strategy=strategy,
                    device="cpu",
                    device_asked="cpu",
                    nodes=1,
                    threads_per_rank=1,
                    batch_size_per_device=batch,
                    batch_size_global=batch * ranks,
                    batch_mode="per-device",
                    epochs=epochs,
                    model="paper_cnn",
                    time_s=None if failed else time_s,
                    images_per_s=None if failed else 6862 / time_s,
                    queue_s=10.0 * repeat,
                    startup_s=3.0,
                    compute_s=0.8 * time_s,
                    communication_s=0.2 * time_s,
                    total_s=time_s + 5,
                    images=6862,
                    started_at=f"2026-01-01T{repeat % 24:02}:00:00+00:00",
                    host=f"node{number}",
                    cpu_model="A CPU",
                    packages="numpy 2.0; torch 2.13",
                )
            )
    return rows


def many_findings(rows: list[Row]) -> list[Finding]:
    """A finding for every third row, each with numbers of its own."""
    return [
        Finding(
            row.run_id,
            Severity.WARNING,
            Code.FOREIGN_LOAD,
            f"{index % 97 + 3} % of one core went to others",
        )
        for index, row in enumerate(rows)
        if index % 3 == 0
    ]
