"""Stands in for the interpreter in jobs: does what ``behave.json`` says, writes a true record.

Takes a stage's own command line and needs no torch, so that a job takes well under a second.
``behave.json`` in the results folder maps patterns of run_ids to ``ok``, ``fail``, ``sleep``,
``garbage``, ``vanish`` (no record), ``die`` (killed before it wrote a record) or ``stop`` (work
until asked to stop, then exit 75; the second time end well).
"""

import fnmatch
import json
import os
import signal
import sys
import time
from pathlib import Path

from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import Actual, Status
from weather_hpc.runs.writer import RunWriter, read_spec


def main(argv: list[str]) -> int:
    run = RunPaths(Path(argv[argv.index("--run-dir") + 1]))
    if "--out" in argv:
        Path(argv[argv.index("--out") + 1]).mkdir(parents=True, exist_ok=True)
    with (run.root / "starts").open("a") as file:
        file.write(f"{os.environ.get('SLURM_JOB_ID')} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    behave = json.loads((run.root.parents[1] / "behave.json").read_text())
    how = next((h for name, h in behave.items() if fnmatch.fnmatch(run.root.name, name)), "ok")
    print("argv", json.dumps(argv))
    if how == "garbage":
        sys.stdout.buffer.write(bytes(range(256)) * 40)
    if how == "vanish":
        return 0
    if how == "die":
        print("OSError: no luck", file=sys.stderr, flush=True)
        time.sleep(0.5)  # srun may lose the last words of a task that is killed
        os.kill(os.getpid(), signal.SIGKILL)
    spec = read_spec(run.root)
    assert spec is not None
    with RunWriter(spec, run.root) as writer:
        if how == "sleep":
            time.sleep(120)
        # a node under load may kill it before it has stopped: it then starts over, and ends
        if how == "stop" and len((run.root / "starts").read_text().splitlines()) == 1:
            while not run.stop.exists():
                time.sleep(0.1)
            run.checkpoint.write_text("half way")
            return 75
        writer.record.actual = Actual(nodes=1, world_size=1, device="cpu")
        writer.record.time_s = 0.5
        writer.finish(
            Status.FAILED if how == "fail" else Status.OK,
            "as given" if how == "fail" else None,
        )
    return 1 if how == "fail" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
