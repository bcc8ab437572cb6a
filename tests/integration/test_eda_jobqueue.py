"""Exploration by Dask workers that are jobs of a real Slurm, one of which is killed."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Slurm
from tests.integration.test_dask_jobqueue import REPOSITORY, Packing, until
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.runs.reader import read_run

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]


@dataclass
class Exploring(Packing):
    """A measured exploration with two workers, each a job, in a folder with an odd name."""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def eda(self, run: Path, *flags: str) -> list[str]:
        return [sys.executable, "-m", "weather_hpc.eda", "--store", str(self.store),
                "--run-dir", str(run), *flags]  # fmt: skip

    @property
    def command(self) -> list[str]:
        site = str(self.folder / "site.yaml")
        return self.eda(self.run, "--backend", "dask-jobqueue", "--workers", "2", "--site", site)

    def sequential(self) -> dict[str, Any]:
        """The results of this process's kind, without Slurm."""
        run = self.folder / "sequential"
        subprocess.run(self.eda(run), cwd=REPOSITORY, check=True)
        lines = (run / "events.jsonl").read_text().splitlines()
        return next(e for e in map(json.loads, lines) if e["event"] == "results")


def test_a_killed_worker_is_replaced_and_results_are_the_same(slurm: Slurm, tmp_path: Path) -> None:
    exploring = Exploring(slurm, tmp_path / "it's 100% odd")
    make_synthetic(exploring.data, 60)  # some seconds of work
    exploring.site()
    pack = [sys.executable, "-m", "weather_hpc.preprocess", "--data", str(exploring.data)]
    subprocess.run([*pack, "--out", str(exploring.store)], cwd=REPOSITORY, check=True)
    with exploring.going_on() as driver:
        until(lambda: driver.poll() is not None or "workers_up" in exploring.events(), 120)
        exploring.workers()[0].kill()
        assert driver.wait(120) == 0, driver.stderr and driver.stderr.read()
    record, events = exploring.record(), exploring.events()
    assert events["results"] | {"at": 0} == exploring.sequential() | {"at": 0}
    assert (record.status, record.counts.images) == ("ok", 660)
    assert record.provenance.restarts == 1
    assert events["worker_lost"]["left"] == 1
    assert {rank.rank for rank in record.actual.ranks} == {0, 1}
    assert {rank.host for rank in record.actual.ranks} <= {"node1", "node2"}
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 660
    assert record.phases.queue is not None
    assert len(events["worker_jobs_ended"]["jobs"]) >= 2
    assert (read_run(exploring.run).row.node_hours or 0) > 0
    exploring.nothing_is_left()
