"""Dask workers that are jobs of a real Slurm: packing, losing workers, leaving nothing behind."""

import contextlib
import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from distributed.comm import get_address_host

from tests.integration.conftest import Slurm
from tests.security.intruder import Intruder
from tests.security.listeners import family, listeners
from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.store import Store
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.preprocess.backends.stall import WORKER_TIMEOUT
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, read_record

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Packing:
    """A preprocessing with two workers, each a job, in a folder with an odd name."""

    slurm: Slurm
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "images"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def command(self) -> list[str]:
        flags = ["--backend", "dask-jobqueue", "--workers", "2", "--size", "32"]
        return [sys.executable, "-m", "weather_hpc.preprocess", "--data", str(self.data),
                "--run-dir", str(self.run), "--site", str(self.folder / "site.yaml"),
                *flags]  # fmt: skip

    def site(self, *setup: str, **slurm: Any) -> None:
        site = {"setup": setup, "slurm": {"interface": "lo", **slurm}}
        (self.folder / "site.yaml").write_text(json.dumps(site))

    @contextlib.contextmanager
    def going_on(self) -> Iterator["subprocess.Popen[str]"]:
        with subprocess.Popen(
            self.command, env=self.slurm.env, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
        ) as driver:
            try:
                yield driver
            finally:
                driver.kill()

    @contextlib.contextmanager
    def held_up(self) -> Iterator["tuple[subprocess.Popen[str], list[psutil.Process]]"]:
        """Within the block a worker is in the middle of a chunk; which one, comes first.

        After the catalogue has seen all images, a pipe that says nothing takes one's place: the
        worker waits in it, until it is killed.
        """
        image = self.data / scan(self.data).items[0].path
        whole = image.with_suffix(".whole")
        with self.going_on() as driver:
            until(lambda: "catalogue" in self.events())
            image.rename(whole)
            os.mkfifo(image)
            writing = until(lambda: opened(image))
            try:
                whole.replace(image)  # whoever comes next finds the image again
                workers = self.workers()
                until(lambda: any(reads_a_pipe(worker, image) for worker in workers))
                yield driver, sorted(workers, key=lambda worker: not reads_a_pipe(worker, image))
            finally:
                os.close(writing)

    def events(self) -> dict[str, dict[str, Any]]:
        """The last event of each name."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.run / "events.jsonl").read_text().splitlines()
            return {event["event"]: event for event in map(json.loads, lines)}
        return {}

    def workers(self) -> list[psutil.Process]:
        """The workers' processes, known by the name of their job."""
        job_name = self.events()["workers_queued"]["job_name"]
        processes = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(word.startswith(f"{job_name}-") for word in process.cmdline()):
                    processes.append(process)
        return processes

    def record(self) -> RunRecord:
        return read_record(self.run / "record.json")

    def jobs(self) -> str:
        return self.slurm.run(["squeue", "--noheader"]).stdout

    def no_job_is_left(self) -> None:
        """Nor a process that Slurm has lost sight of."""
        until(lambda: not self.jobs())
        if "workers_queued" in self.events():
            until(lambda: not self.workers())

    def nothing_is_left(self) -> None:
        self.no_job_is_left()
        hidden = {path.name for path in self.run.iterdir() if path.name.startswith(".")}
        assert hidden <= {".lock"}


def opened(pipe: Path) -> int | None:
    """The pipe's end to write to, once somebody reads from it."""
    with contextlib.suppress(OSError):
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return None


def scratch(worker: psutil.Process) -> list[Path]:
    """The worker's folder of temporary files, which it holds open."""
    links = Path(f"/proc/{worker.pid}/fd").iterdir()
    return [path for path in map(Path.readlink, links) if path.name.startswith("weather_hpc-work")]


def reads_a_pipe(process: psutil.Process, path: Path) -> bool:
    """Whether the process has the pipe open that stood at ``path``."""
    links = [link for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_fifo()]
    return any(str(path) in str(link.readlink()) for link in links)


def until(ready: Callable[[], T | None], patience_s: float = 60) -> T:
    deadline = time.monotonic() + patience_s
    while not (value := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.fixture
def packing(slurm: Slurm, tmp_path: Path) -> Packing:
    folder = tmp_path / "it's 100% odd"
    make_synthetic(folder / "images", 4)  # 44 images: two chunks
    packing = Packing(slurm, folder)
    packing.site()
    return packing


@pytest.fixture
def checksum(packing: Packing) -> str:
    """Of the store that the sequential backend makes."""
    out = packing.folder / "sequential"
    argv = [sys.executable, "-m", "weather_hpc.preprocess", "--data", str(packing.data)]
    subprocess.run([*argv, "--out", str(out), "--size", "32"], cwd=REPOSITORY, check=True)
    return Store.open(out).checksum


def test_workers_on_the_cluster_make_the_same_store(packing: Packing, checksum: str) -> None:
    done = packing.slurm.run(packing.command, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    record = packing.record()
    assert record.quality.store_checksum == checksum
    assert record.actual.world_size == 2
    assert {rank.host for rank in record.actual.ranks} <= {"node1", "node2"}
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 44
    assert record.provenance.restarts == 0
    assert record.phases.queue is not None
    assert record.phases.startup is not None
    packing.nothing_is_left()


def test_the_chunk_of_a_killed_worker_is_repeated(packing: Packing, checksum: str) -> None:
    with packing.held_up() as (driver, workers):
        assert len(workers) == 2
        workers[0].kill()
        assert driver.wait(60) == 0
    record = packing.record()
    assert record.quality.store_checksum == checksum
    assert (record.status, record.counts.images, record.counts.quarantined) == ("ok", 44, 0)
    assert record.actual.world_size == 2
    assert record.provenance.restarts == 1
    assert packing.events()["worker_lost"]["left"] == 1
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 44
    assert Store.open(packing.run / "store").verify() == []
    packing.nothing_is_left()


def test_nobody_else_is_let_in(packing: Packing, checksum: str, tmp_path: Path) -> None:
    """Another user without the certificate, where the site names no interface."""
    packing.site(interface=None)
    with Intruder(tmp_path) as intruder:
        with packing.held_up() as (driver, workers):
            (keys,) = packing.run.glob(".dask-*")
            assert stat.S_IMODE(keys.stat().st_mode) == 0o700
            for name in ("cert.pem", "key.pem"):
                assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600
            targets = listeners([*family(driver.pid), *(worker.pid for worker in workers)])
            assert intruder.attack(targets) == []
            assert [stat.S_IMODE(path.stat().st_mode) for path in scratch(workers[0])] == [0o700]
            told = workers[0].cmdline()[3]  # the scheduler's address
            assert {target.address for target in targets} <= {"127.0.0.1", get_address_host(told)}
            assert len(targets) >= 6  # by TLS and HTTP: the scheduler and two workers
            workers[0].kill()
            assert driver.wait(60) == 0
        assert intruder.ran() == []
    assert packing.record().quality.store_checksum == checksum
    packing.nothing_is_left()


def test_all_workers_are_replaced(packing: Packing, checksum: str) -> None:
    with packing.held_up() as (driver, workers):
        for worker in workers:
            worker.kill()
        assert driver.wait(60) == 0
    record = packing.record()
    assert record.quality.store_checksum == checksum
    assert record.provenance.restarts == 2
    # the killed workers' jobs count as well as those of their replacements
    ended = packing.events()["worker_jobs_ended"]
    assert len(ended["jobs"]) == 4
    row = read_run(packing.run).row
    assert row.worker_jobs_s == sum(job["elapsed_s"] for job in ended["jobs"]) > 0
    assert row.worker_jobs_s == sacct_seconds(packing, ended["job_name"], 4)
    # one did the chunk that was held up; it is told of, under the rank of the one it replaced
    assert {rank.rank for rank in record.actual.ranks} == {0, 1}
    assert sum(rank.images or 0 for rank in record.actual.ranks) == 44
    packing.nothing_is_left()


def sacct_seconds(packing: Packing, name: str, count: int) -> int:
    """Elapsed seconds of all jobs called ``name``, once accounting knows ``count`` of them."""
    argv = ["sacct", "-XnP", "-S", "now-1hour", "--name", name, "-o", "ElapsedRaw,End"]

    def ended() -> list[int] | None:
        lines = [line.split("|") for line in packing.slurm.run(argv).stdout.split()]
        done = [int(elapsed) for elapsed, end in lines if end != "Unknown"]
        return done if len(done) == count else None

    return sum(until(ended))


def test_no_worker_left_and_none_coming_ends_the_run_which_can_resume(
    packing: Packing, checksum: str
) -> None:
    packing.site(dask_wait_s=4)
    try:
        with packing.held_up() as (driver, workers):
            partition(packing.slurm, "DOWN")
            for worker in workers:
                worker.kill()
            assert driver.wait(60) == 1
            assert driver.stderr is not None
            stderr = driver.stderr.read()
    finally:
        partition(packing.slurm, "UP")
    assert "none is left, and none came up within 4 s" in stderr
    assert stderr.count("\n") == 1
    assert packing.record().status == "failed"
    packing.no_job_is_left()
    packing.site("echo set-up failed >&2", "exit 3")
    done = packing.slurm.run(packing.command, cwd=REPOSITORY)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    said = "0 of 2 workers came up: jobs ended early; the workers' logs (set-up failed): "
    assert said in done.stderr
    logs = Path(done.stderr.strip().split(said)[1])
    assert {log.read_text() for log in logs.glob("*.log")} == {"set-up failed\n"}

    packing.site()
    assert packing.slurm.run(packing.command, cwd=REPOSITORY).returncode == 0
    assert packing.record().quality.store_checksum == checksum


def test_a_worker_that_reads_for_ever_is_named_and_the_run_can_resume(
    packing: Packing, checksum: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # enough for a worker's first chunk on a busy machine
    monkeypatch.setitem(packing.slurm.env, WORKER_TIMEOUT, "10")
    with packing.held_up() as (driver, workers):
        assert driver.wait(60) == 1
        assert driver.stderr is not None
        stderr = driver.stderr.read()
    assert re.search(
        rf"no result for 1\d s \({WORKER_TIMEOUT}=10\) from worker [01] on \S+ "
        rf"\(pid {workers[0].pid}\) at chunk 0 \(.+ to .+\)",
        stderr,
    ), stderr
    assert stderr.count("\n") == 1
    packing.no_job_is_left()
    monkeypatch.delitem(packing.slurm.env, WORKER_TIMEOUT)
    assert packing.slurm.run(packing.command, cwd=REPOSITORY).returncode == 0
    assert packing.record().quality.store_checksum == checksum


def partition(slurm: Slurm, state: str) -> None:
    done = slurm.run(["scontrol", "update", "PartitionName=cpu", f"State={state}"])
    assert done.returncode == 0, done.stderr


def test_a_stopped_run_leaves_no_jobs(packing: Packing) -> None:
    with packing.held_up() as (driver, _):
        driver.terminate()
        assert driver.wait(60) == 130
    assert packing.record().status == "cancelled"
    packing.no_job_is_left()


@pytest.mark.parametrize(
    ("site", "code", "message"),
    [
        ({"partition": "nope"}, 2, "sbatch refuses the workers' jobs: invalid partition"),
        ({"dask_wait_s": 1, "extra_directives": ["--begin=now+1hour"]}, 1,
         "0 of 2 workers came up within 1 s"),
    ],
)  # fmt: skip
def test_workers_that_cannot_start_are_one_error_line(
    packing: Packing, site: dict[str, Any], code: int, message: str
) -> None:
    packing.site(**site)
    done = packing.slurm.run(packing.command, cwd=REPOSITORY)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    packing.no_job_is_left()
