"""``python -m tests.soak``: kill a study's processes at random, resume it, compare its results.

The study is made once undisturbed. Then it is made again and again, each time in a new folder,
while every few seconds one of its processes gets a signal, mostly kill -9. Where the sweep itself
was killed or has failed, it is called again, as a user would do. Each finished study must be equal
to the undisturbed one to the bit, with no run twice and no process left.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.conftest import Slurm, a_slurm
from tests.soak.cluster import strike
from tests.soak.family import Member, family, kill_one, made_twice
from tests.soak.outcome import IMAGES_PER_CLASS, differences, outcome, repeated, study
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.runs.paths import StudyPaths

WATCH_S = 0.5
"""How often the processes are looked at."""

CALL_LIMIT_S = 300.0
"""A sweep that is not disturbed and takes longer than this hangs."""

END_S = 15.0
"""How long after the end of a sweep its processes may still be ending."""

CLUSTER_SHARE = 0.3
"""How many of the faults are the cluster's, where there is one."""

PAUSE = 0.7
"""Of the time that each kill has: a sweep that was killed must be called again, too."""

LEFTOVERS = ("weather_hpc-*", "weather-hpc-*", "whpc-*", "torchelastic_*")
"""Names of temporary files."""


@dataclass
class Soak:
    """A soak and what it has found."""

    folder: Path
    executor: list[str]
    environment: dict[str, str]
    choice: random.Random
    pause_s: float
    """Between two kills, on average, s."""
    slurm: Slurm | None = None
    kills: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    """Calls of the sweep verb."""
    studies: int = 0
    """Studies that were finished while processes were killed."""
    faults: list[str] = field(default_factory=list)

    def undisturbed(self) -> dict[str, Any]:
        """Make the study once; its results."""
        paths = StudyPaths(self.folder / "undisturbed")
        sweep = self._start(paths)
        if sweep.wait():
            raise SystemExit(f"soak: the undisturbed study failed; see {self._log(paths)}")
        return outcome(paths)

    def disturbed(self, expected: dict[str, Any], kills: int, deadline: float) -> None:
        """Make the study while its processes are killed, until ``kills`` in all or ``deadline``."""
        paths = StudyPaths(self.folder / f"study{self.studies + 1}")
        failed_calls = 0
        while True:
            code = self._one_call(paths, kills, deadline)
            if code == 0:
                break
            over = self.is_over(kills, deadline)
            failed_calls = failed_calls + 1 if over else 0
            if failed_calls > 3:
                self.faults.append(f"{paths.root}: exit code {code} though nothing was killed")
                return
        self.studies += 1
        self.faults += [f"{paths.root}: {line}" for line in differences(outcome(paths), expected)]
        self.faults += [f"{paths.root}: {line}" for line in repeated(paths)]
        end = time.monotonic() + END_S
        while (left := family(paths.root)) and time.monotonic() < end:
            time.sleep(WATCH_S)
        self.faults += [f"{paths.root}: left: {member.command[:150]}" for member in left]

    def _one_call(self, paths: StudyPaths, kills: int, deadline: float) -> int:
        """Call the sweep once, killing meanwhile; its exit code."""
        sweep = self._start(paths)
        started = last = time.monotonic()
        next_kill = started + self._pause()
        twice: set[str] = set()
        while sweep.poll() is None:
            time.sleep(WATCH_S)
            now, members = time.monotonic(), family(paths.root)
            # what was killed may take a moment to end
            self.faults += [
                f"{run}: made twice at once" for run in twice & set(made_twice(members))
            ]
            twice = made_twice(members)
            if not self.is_over(kills, deadline) and now >= next_kill:
                if (killed := self._strike(members)) is not None:
                    self.kills[killed] += 1
                    print(f"{sum(self.kills.values())}: {killed}", flush=True)
                last, next_kill = now, now + self._pause()
            if now - last > CALL_LIMIT_S:
                self.faults.append(f"{paths.root}: hangs; see {self._log(paths)}")
                sweep.kill()
        return sweep.wait()

    def _strike(self, members: list[Member]) -> str | None:
        """Kill one of ``members``, or on a cluster something of the cluster; what it was."""
        if self.slurm is not None and self.choice.random() < CLUSTER_SHARE:
            return strike(self.slurm, self.choice)
        return kill_one(members, self.choice)

    def is_over(self, kills: int, deadline: float) -> bool:
        """Whether enough has been killed."""
        return sum(self.kills.values()) >= kills or time.monotonic() > deadline

    def _pause(self) -> float:
        return self.choice.expovariate(1 / self.pause_s)

    def _log(self, paths: StudyPaths) -> Path:
        return self.folder / f"{paths.root.name}.log"

    def _start(self, paths: StudyPaths) -> subprocess.Popen[bytes]:
        self.calls += 1
        argv = [sys.executable, "-m", "weather_hpc.sweep", *self.executor]
        argv += ["--study", str(self.folder / "soak.yaml"), "--data", str(self.folder / "data")]
        argv += ["--results", str(paths.root)]
        with self._log(paths).open("ab") as log:
            return subprocess.Popen(
                argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


def leftovers() -> int:
    """Temporary files and folders of ours, whoever made them."""
    places = {Path(tempfile.gettempdir()), Path("/dev/shm")}  # noqa: S108 - it is only listed
    return sum(1 for place in places for name in LEFTOVERS for _ in place.glob(name))


def main() -> int:
    """Run the soak; 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="processes to kill (default: 200)")
    parser.add_argument("--minutes", type=float, default=30, help="time limit (default: 30)")
    parser.add_argument("--executor", choices=["local", "slurm"], default="local",
                        help="slurm: on a testbed that is brought up for it")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of what is killed and when")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    (folder / "soak.yaml").write_text(study(options.executor == "slurm"))
    # one folder for all studies: the names of runs depend on its path
    make_synthetic(folder / "data", IMAGES_PER_CLASS, seed=0)
    with ExitStack() as stack:
        slurm, environment = None, dict(os.environ)
        executor = ["--executor", options.executor]
        if options.executor == "slurm":
            slurm = stack.enter_context(a_slurm())
            environment = slurm.env
            executor += ["--site", "testbed", "--wait"]
        soak = Soak(folder, executor, environment, random.Random(options.seed),
                    pause_s=PAUSE * options.minutes * 60 / options.kills, slurm=slurm)  # fmt: skip
        before, started = leftovers(), time.monotonic()
        expected = soak.undisturbed()
        deadline = time.monotonic() + options.minutes * 60
        while not soak.is_over(options.kills, deadline) and not soak.faults:
            soak.disturbed(expected, options.kills, deadline)
    figures = {
        "executor": options.executor,
        "seed": options.seed,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "kills": sum(soak.kills.values()),
        "kills_by_process_and_signal": dict(sorted(soak.kills.items())),
        "calls_of_sweep": soak.calls,
        "studies_finished": soak.studies,
        "temporary_files_left": leftovers() - before,
        "faults": soak.faults,
    }
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    if soak.faults:
        print(f"soak: {len(soak.faults)} faults; everything is in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
