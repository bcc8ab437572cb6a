"""What runs keep in the memory of simulated devices, and what becomes of them where it is full."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulated_cuda.conftest import Simulated, simulating
from tests.simulated_cuda.test_strategies import ON_CUDA, words
from tests.train.conftest import events, losses, record_in
from weather_hpc.dataset.store import Store
from weather_hpc.train.graphs import REHEARSALS

pytestmark = pytest.mark.xdist_group("simulated_cuda")

GRAPH = (*ON_CUDA, "--execution", "graph")

LITTLE_MB = 7
"""A step of one image fits, the store's images of 256 px do not."""


def test_fresh_memory_holds_no_zeros_and_devices_are_not_mixed() -> None:
    code = """
import torch
assert torch.empty(3, device="cuda").isnan().all()
for other in ("cpu", "cuda:1"):
    try:
        torch.ones(2, device="cuda:0") + torch.ones(2, device=other)
    except RuntimeError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=simulating(2), capture_output=True, text=True, check=True
    )
    told = done.stdout.splitlines()
    assert len(told) == 2
    assert all("Expected all tensors to be on the same device" in line for line in told)


def test_graphs_of_all_sizes_share_a_pool_and_the_largest_comes_first(
    simulated: Simulated, small_store: Path, tmp_path: Path
) -> None:
    told = simulated(*words(small_store), *GRAPH, "--images", 29, run_dir=tmp_path)
    pools, sizes = zip(*[call[1:] for call in told.calls if call[0] == "capture"], strict=True)
    assert len(sizes) == 3, "steps of 8, 7 and 6 images"
    assert len({tuple(pool) for pool in pools}) == 1
    assert list(sizes) == sorted(sizes, reverse=True)


def test_an_epoch_of_fewer_steps_than_rehearsals(
    simulated: Simulated, small_store: Path, tmp_path: Path
) -> None:
    """Rehearsals must not go on past the epoch's images."""
    options = words(small_store, "tiny", *ON_CUDA, "--batch-size", 16, "--images", 32)
    told = simulated(*options, run_dir=tmp_path / "eager")
    assert told.record["counts"]["steps"] / 2 < REHEARSALS
    simulated(*options, "--execution", "graph", run_dir=tmp_path / "graph")
    assert losses(tmp_path / "graph") == pytest.approx(losses(tmp_path / "eager"), rel=1e-6)


@pytest.mark.parametrize("recipe", ["paper", "strong"])
def test_images_that_do_not_fit_come_from_the_map_and_are_waited_for(
    recipe: str, simulated: Simulated, paper_store: Path, tmp_path: Path
) -> None:
    options = ["--store", paper_store, "--model", "tiny", *ON_CUDA, "--batch-size", 1]
    options += ["--epochs", 2, "--recipe", recipe]
    kept = simulated(*options, run_dir=tmp_path / "kept")
    sent = simulated(*options, run_dir=tmp_path / "sent", memory_mb=LITTLE_MB)
    resident, mapped = (events(tmp_path / name, "input")[0] for name in ("kept", "sent"))
    images = len(Store.open(paper_store).rows("train"))
    assert resident["source"] == "resident"
    assert resident["resident_mb"] == pytest.approx(images * 256 * 256 * 3 / 1e6)
    assert kept.record["phases"]["warmup"] >= resident["time_s"], "they are sent before the clock"
    assert (mapped["source"], mapped["resident_mb"]) == ("map", 0)
    assert losses(tmp_path / "kept") == losses(tmp_path / "sent")
    assert kept.record["quality"] == sent.record["quality"]
    assert kept.record["phases"]["data_wait"] == 0.0
    assert sent.record["phases"]["data_wait"] > 0.0
    assert not any(sent.waits), "the host waits for the device"


def test_graphs_need_images_on_the_device_and_say_so_where_there_is_no_room(
    simulated: Simulated, paper_store: Path, tmp_path: Path
) -> None:
    options = ["--store", paper_store, "--model", "tiny", *GRAPH, "--epochs", 1, "--batch-size", 1]
    told = simulated(*options, run_dir=tmp_path, memory_mb=LITTLE_MB)
    assert told.record["provenance"]["environment"]["execution"].startswith("without graphs")
    assert told.count("capture") == 0


def test_out_of_memory_has_its_name_where_the_end_of_a_capture_hides_it(
    simulated: Simulated, small_store: Path, tmp_path: Path
) -> None:
    """Where a first graph fits and a second does not, it is the recording that fails."""
    options = words(small_store, "tiny", *GRAPH, "--batch-size", 32, "--discard")
    in_recording = 0
    for tenths_mb in range(8, 30):
        told = simulated(*options, run_dir=tmp_path, memory_mb=tenths_mb / 10, code=None)
        if told.record["status"] != "ok":
            in_recording += told.count("capture_failed")
            assert told.record["status"] == "out_of_memory", told.record["reason"]
            assert told.record["reason"].startswith("CUDA out of memory")
    assert told.count("capture") == 2, "so much memory is enough"
    assert in_recording, "it is never the recording that fails"


CAPTURE_FAILS = """
import contextlib, sys, torch
from weather_hpc import cli
from weather_hpc.train import graphs
from weather_hpc.train.__main__ import main
@contextlib.contextmanager
def graph(*_, **__):
    raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    yield
torch.cuda.graph = graph
for free, name in ((0, "short"), (10**9, "enough")):
    graphs.free_bytes = lambda device: free
    with contextlib.suppress(RuntimeError):
        cli.guarded("train", main, [*sys.argv[2:], "--run-dir", f"{sys.argv[1]}/{name}"])
"""
"""Some versions of torch end a capture for want of memory and never tell of the want."""


def test_a_capture_that_fails_with_too_little_memory_has_failed_for_that(
    small_store: Path, tmp_path: Path
) -> None:
    options = ["--store", small_store, "--model", "weather_net", *GRAPH, "--epochs", "1"]
    argv = [sys.executable, "-c", CAPTURE_FAILS, str(tmp_path), *map(str, options)]
    subprocess.run(argv, env=simulating(1), capture_output=True, check=True)
    short, enough = (record_in(tmp_path / name) for name in ("short", "enough"))
    assert short["status"] == "out_of_memory"
    assert "images needs" in short["reason"]
    assert short["reason"].endswith("0 MB are free")
    assert enough["status"] == "failed"
    assert "previous error during capture" in enough["reason"]


def test_peaks_are_of_every_device_and_of_what_comes_after_warm_up(
    simulated: Simulated, small_store: Path, tmp_path: Path
) -> None:
    options = words(small_store, "tiny", "--strategy", "dp", "--world-size", 2)
    told = simulated(*options, run_dir=tmp_path)
    names = [call[0] for call in told.calls]
    reset, trained = names.index("reset_peak"), len(names) - names[::-1].index("synchronize")
    assert "synchronize" in names[:reset], "warm-up comes before"
    assert reset < trained
    assert [call[1] for call in told.calls if call[0] == "reset_peak"] == [0, 1]
    record = told.record
    (rank,) = record["actual"]["ranks"]
    first, second = rank["device_memory_peak_mb"]
    assert first > second > 0.0, "the first device also has images, optimizer and logits"
    assert record["usage"]["device_memory_peak_mb"] == first


def test_every_gpu_of_the_node_is_looked_at_twice(small_store: Path, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    line = "A GPU, 580.1, 0, 100, 80000, 60.5, 30, P0"
    program.write_text(f"#!/bin/sh\necho '{line}'\necho '{line}'\n")
    program.chmod(0o755)
    environment = simulating(1) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    options = ["--store", str(small_store), "--model", "weather_net", *ON_CUDA, "--epochs", "2"]
    argv = [sys.executable, "-m", "weather_hpc.train", *options, "--run-dir", str(tmp_path / "run")]
    subprocess.run(argv, env=environment, capture_output=True, check=True)
    with (tmp_path / "run" / "nvidia-smi.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["moment"], row["gpu"]) for row in rows] == [
        ("start", "0"), ("start", "1"), ("middle", "0"), ("middle", "1"),
    ]  # fmt: skip
