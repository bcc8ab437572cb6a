"""ranks.csv and stdout: loss, accuracy and seconds of each rank and epoch."""

import csv
import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.train.conftest import (
    RUN_TINY,
    Train,
    events,
    record_in,
    run_forked,
    torchrun_argv,
)
from tests.train.run_slow_rank import EXTRA_S
from tests.train.test_resume import kill_after_epoch
from tests.train.test_stop import ask_to_stop
from weather_hpc import cli
from weather_hpc.collect.__main__ import main as collect
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.train.rank_epochs import RankEpoch, RankLog
from weather_hpc.train.ranks import torchrun as torchrun_arguments

TINY = ("--model", "tiny", "--device", "cpu")
ONCE = {(epoch, rank): 1 for epoch in (1, 2, 3) for rank in (0, 1)}
"""How often each epoch and rank is in a file of three epochs and two ranks."""


def lines_in(run_dir: Path) -> list[RankEpoch]:
    with RunPaths(run_dir).ranks.open(newline="") as file:
        return [RankEpoch.from_cells(cells) for cells in csv.DictReader(file)]


def counts(lines: list[RankEpoch]) -> dict[tuple[int, int], int]:
    return Counter((line.epoch, line.rank) for line in lines)


def logged(*argv: object, to: Path, code: int = 0) -> None:
    """Run ``argv`` as a sweep does, with stdout in the file ``to``."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w") as out:
        returned, error = run_forked(list(map(str, argv)), stdout=out)
    assert returned == code, error


def test_every_rank_and_epoch_of_ddp(small_store: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    options = (*TINY, "--store", small_store, "--epochs", 3, "--batch-size", 10)
    argv = torchrun_argv(*options, "--strategy", "ddp", "--run-dir", run_dir)
    logged(*argv, to=tmp_path / "stdout.log")
    record, lines = record_in(run_dir), lines_in(run_dir)
    assert counts(lines) == ONCE
    for event in events(run_dir, "epoch"):
        own = [line for line in lines if line.epoch == event["epoch"]]
        images = [line.images for line in own]
        assert sum(images) == record["counts"]["images"]
        for name in ("loss", "accuracy"):
            mean = sum(getattr(line, name) * line.images for line in own) / sum(images)
            assert mean == pytest.approx(event[name], abs=1e-5)
        assert own[0].time_s == pytest.approx(event["time_s"], abs=1e-5)
    for line in lines:
        assert line.computation_s is not None
        assert line.data_wait_s is not None
        assert line.communication_s is not None
        parts = line.computation_s + line.data_wait_s + line.communication_s
        assert parts == pytest.approx(line.time_s, abs=1e-4)
        assert min(line.computation_s, line.data_wait_s, line.communication_s) > 0
    for rank, info in enumerate(record["actual"]["ranks"]):
        for name in ("computation_s", "data_wait_s", "communication_s"):
            of_epochs = sum(getattr(line, name) for line in lines if line.rank == rank)
            assert info[name] == pytest.approx(of_epochs, abs=1e-4)

    # its log is read as the study's logs are
    out = StudyPaths(tmp_path / "collected")
    assert collect([str(tmp_path / "stdout.log"), "--out", str(out.root)]) == 0
    with out.rows.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["status"], row["table"], row["workers"]) == ("ok", "training", "2")
    assert row["epochs_done"] == "3"
    totals = [sum(line.time_s for line in lines if line.rank == rank) for rank in (0, 1)]
    assert float(row["time_s"]) == pytest.approx(max(totals), abs=1e-5)
    assert record["time_s"] == pytest.approx(totals[0], abs=1e-5)
    last = [line for line in lines if line.epoch == 3]
    for column, name in (("train_loss", "loss"), ("train_accuracy", "accuracy")):
        mean = sum(getattr(line, name) for line in last) / 2
        assert float(row[column]) == pytest.approx(mean, abs=1e-5)
    with out.audit.open(newline="") as file:
        messages = [finding["message"] for finding in csv.DictReader(file)]
    # an epoch of milliseconds begins and ends at other times on ranks that wait for a core
    of_timing = re.compile("totals disagree|epoch .* they end other epochs together$")
    assert [text for text in messages if not of_timing.match(text)] == []


def test_gloo_tells_computation_by_the_thread_that_computes(
    torchrun: Train, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEATHER_HPC_SHARED_MEMORY", "off")
    options = (*TINY, "--store", small_store, "--epochs", 3, "--strategy", "ddp")
    torchrun(*options, run_dir=tmp_path)
    lines = lines_in(tmp_path)
    assert counts(lines) == ONCE
    assert all(line.communication_s is None for line in lines), "gloo does not tell it"
    assert all(0 < (line.computation_s or 0) <= line.time_s * 1.01 for line in lines)


@pytest.mark.parametrize("shared", ["on", "off"])
def test_a_rank_with_more_work_is_named_by_the_report(
    shared: str, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEATHER_HPC_SHARED_MEMORY", shared)
    launcher = torchrun_arguments(1, 2)
    if shared == "off":  # torch's own, whose ranks meet at a port
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).with_name("run_slow_rank.py")
    options = ("--model", "uneven", "--device", "cpu", "--store", small_store, "--epochs", 2)
    study = StudyPaths(tmp_path)
    run = study.run("uneven")
    logged(
        sys.executable, *launcher, script, *options, "--batch-size", 4, "--strategy", "ddp",
        "--run-dir", run.root, to=run.stdout,
    )  # fmt: skip
    fast, slow = (rank["computation_s"] for rank in record_in(run.root)["actual"]["ranks"])
    batches = record_in(run.root)["counts"]["images"] // (2 * 4)
    assert slow > 2 * batches * EXTRA_S

    assert collect([str(tmp_path)]) == 0
    with (study.tables / "pop.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    balance, communication, together = (
        float(row[name])
        for name in ("load_balance", "communication_efficiency", "parallel_efficiency")
    )
    assert balance == pytest.approx((fast + slow) / (2 * slow), rel=1e-4)
    assert communication == pytest.approx(slow / record_in(run.root)["time_s"], rel=1e-4)
    assert together == pytest.approx(balance * communication, rel=1e-4)
    assert row["slowest_rank"] == "1"
    excess = 100 * (2 * slow / (fast + slow) - 1)
    told = f"rank 1 on {row['slowest_host']} computes {excess:.0f} % longer than the mean"
    assert told in study.report_markdown.read_text()


def test_only_the_last_stage_of_a_pipeline_has_losses(
    torchrun: Train, small_store: Path, tmp_path: Path
) -> None:
    options = (*TINY, "--store", small_store, "--epochs", 3, "--strategy", "model")
    record = torchrun(*options, run_dir=tmp_path)
    lines = lines_in(tmp_path)
    assert counts(lines) == ONCE
    for line in lines:
        assert line.images == record["counts"]["images"], "every stage has all images"
        assert (line.loss is None) == (line.accuracy is None) == (line.rank == 0)
        assert line.computation_s is not None
    losses = [event["loss"] for event in events(tmp_path, "epoch")]
    assert [line.loss for line in lines if line.rank == 1] == pytest.approx(losses, abs=1e-5)


def test_one_process_prints_its_epochs_unless_json_is_asked_for(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (*TINY, "--store", small_store, "--epochs", 2)
    record = train(*options, run_dir=tmp_path / "run")
    first, second, total, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("Rank: 0 || Epoch: 1 || Loss: ")
    assert second.startswith("Rank: 0 || Epoch: 2 || Loss: ")
    assert float(total) == pytest.approx(record["time_s"], abs=1e-5)
    (rank,) = record["actual"]["ranks"]
    assert rank["communication_s"] is None
    assert rank["computation_s"] + rank["data_wait_s"] == pytest.approx(record["time_s"])
    train(*options, "--json", run_dir=tmp_path / "json")
    assert json.loads(capsys.readouterr().out)["status"] == "ok"


def test_killed_and_resumed_no_line_is_lost_or_doubled(small_store: Path, tmp_path: Path) -> None:
    """The killed process has written an epoch that its checkpoint lacks, and half a line."""
    run_dir = tmp_path / "run"
    options = (*TINY, "--store", small_store, "--epochs", 3, "--batch-size", 4)
    argv = torchrun_argv(*options, "--strategy", "ddp", "--run-dir", run_dir, "--resume")
    checkpoint = tmp_path / "checkpoint.pt"
    logged(*argv, to=tmp_path / "whole.log")
    whole = lines_in(run_dir)
    shutil.rmtree(run_dir)
    ask_to_stop(run_dir)
    logged(*argv, to=tmp_path / "stopped.log")
    shutil.copy(RunPaths(run_dir).checkpoint, checkpoint)
    RunPaths(run_dir).stop.unlink()
    logged(*argv, to=tmp_path / "killed.log")
    shutil.copy(checkpoint, RunPaths(run_dir).checkpoint)
    RunPaths(run_dir).record.unlink()
    with RunPaths(run_dir).ranks.open("a") as file:
        file.write("3,1,node")
    logged(*argv, to=tmp_path / "resumed.log")
    lines = lines_in(run_dir)
    assert counts(lines) == ONCE
    for line, expected in zip(lines, whole, strict=True):
        assert (line.epoch, line.rank, line.loss) == (
            expected.epoch, expected.rank, expected.loss,
        )  # fmt: skip
    printed = (tmp_path / "resumed.log").read_text().splitlines()
    assert sum(text.startswith("Rank: ") for text in printed) == len(ONCE), "the earlier ones too"
    for rank, info in enumerate(record_in(run_dir)["actual"]["ranks"]):
        seconds = [line.computation_s or 0 for line in lines if line.rank == rank]
        assert info["computation_s"] == pytest.approx(sum(seconds), abs=1e-4)


def test_an_epoch_done_in_two_parts_has_the_seconds_of_both(
    train: Train, paper_store: Path, tmp_path: Path
) -> None:
    options = ("--store", paper_store, "--batch-size", 2, "--images", 20, "--epochs", 1)
    paths = ask_to_stop(tmp_path)
    train(*options, run_dir=tmp_path, code=cli.EXIT_STOPPED)
    assert not paths.ranks.exists(), "no epoch has ended"
    paths.stop.unlink()
    train(*options, "--resume", run_dir=tmp_path)
    (line,) = lines_in(tmp_path)
    assert line.computation_s is not None
    assert line.data_wait_s is not None
    assert line.computation_s + line.data_wait_s == pytest.approx(line.time_s, abs=1e-4)
    assert line.images == 20


def test_a_checkpoint_without_seconds_of_ranks_leaves_them_unknown(
    train: Train, small_store: Path, tmp_path: Path
) -> None:
    """As one of an earlier version."""
    import torch

    options = (*TINY, "--store", small_store, "--epochs", 2)
    paths = ask_to_stop(tmp_path)
    train(*options, run_dir=tmp_path, code=cli.EXIT_STOPPED)
    paths.stop.unlink()
    state = torch.load(paths.checkpoint, weights_only=True)
    for rank in state["ranks"]:
        del rank["times"]
    torch.save(state, paths.checkpoint)
    (rank,) = train(*options, "--resume", run_dir=tmp_path)["actual"]["ranks"]
    assert rank["computation_s"] is rank["data_wait_s"] is None
    first, second = lines_in(tmp_path)
    assert first.computation_s is not None
    assert second.computation_s is not None, "this epoch has been measured whole"


def test_a_killed_run_keeps_its_lines(small_store: Path, tmp_path: Path) -> None:
    options = [*TINY, "--store", small_store, "--epochs", 5, "--batch-size", 1]
    argv = [sys.executable, str(RUN_TINY), *map(str, options), "--run-dir", str(tmp_path)]
    kill_after_epoch(2, argv, tmp_path)
    assert {line.epoch for line in lines_in(tmp_path)} >= {1, 2}


def test_without_a_folder_lines_are_printed_only(capsys: pytest.CaptureFixture[str]) -> None:
    line = RankEpoch(3, 0, "node1", 1.53, 0.52, 100, 4.51, 4.0, None, None)
    log = RankLog(None, prints=True)
    log.resume(2)
    log.add([line])
    log.end()
    assert capsys.readouterr().out.splitlines() == [
        "Rank: 0 || Epoch: 3 || Loss: 1.530000 || Accuracy: 0.520000 || Time: 4.510000",
        "4.510000",
    ]
