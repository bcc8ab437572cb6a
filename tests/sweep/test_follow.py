"""How far a study is, from its files: what is shown, and when following it ends."""

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc.errors import UserError
from weather_hpc.runs.lock import Holder
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import save_plan
from weather_hpc.runs.progress import read_progress
from weather_hpc.slurm import ledger, pending
from weather_hpc.slurm.ledger import Submission
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec
from weather_hpc.sweep import follow
from weather_hpc.sweep.__main__ import main
from weather_hpc.sweep.live import LiveReport
from weather_hpc.sweep.progress import StudyProgress, Watcher

QUEUE = """\
#!/bin/sh
echo >>{calls}
case $(wc -l <{calls}) in
1) state=JobHeldUser ;;
[23]) echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1 ;;
*) state=DependencyNeverSatisfied ;;
esac
echo "5_0|whpc-s-t|PENDING|2026-11-28T10:00:00|N/A||$state"
"""

HERE = Holder.here()
THERE = Holder(7, "node9", "of another boot", 5)


def study(folder: Path, *specs: RunSpec) -> StudyPaths:
    paths = StudyPaths(folder)
    save_plan(paths, Plan("demo", "/images", None, specs))
    return paths


def start(folder: Path, spec: RunSpec, by: Holder, *events: dict[str, Any]) -> RunPaths:
    """Leave ``spec`` as it is while the process ``by`` makes it."""
    now = measured(spec, None, status="incomplete", provenance={"started_at": _iso(time.time())})
    run = leave(folder, now, epochs=0)
    run.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    run.lock.write_bytes(by.as_line())
    return run


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at))


def epoch(number: int, at: float) -> dict[str, Any]:
    return {"event": "epoch", "epoch": number, "at": at, "loss": 1 / number, "accuracy": 0.5,
            "test_accuracy": None}  # fmt: skip


def look(paths: StudyPaths, *specs: RunSpec) -> StudyProgress:
    return Watcher(paths, Plan("demo", "/images", None, specs)).look({})


def test_a_running_run_shows_its_epoch_and_the_time_by_its_epochs(tmp_path: Path) -> None:
    spec, now = train_spec("single", 1, task={"epochs": 10}), time.time()
    events = [{"event": "start", "at": now - 25}, {"event": "input", "at": now - 20}]
    start(tmp_path, spec, HERE, *events, epoch(1, now - 10), epoch(2, now))
    progress = look(study(tmp_path, spec), spec)
    (running,) = progress.running
    assert str(running).split(": ", 1)[1].startswith("epoch 2 of 10, loss 0.500, accuracy 0.500; ")
    assert running.left_s == pytest.approx(80, abs=5)
    assert progress.left_s == running.left_s
    assert progress.count_line == "0 of 1 run done, 1 running"


def test_the_time_left_is_by_finished_repeats_else_not_known(tmp_path: Path) -> None:
    first, second, third, other = (
        *(train_spec("single", 1, repeat) for repeat in range(3)),
        preprocess_spec("sequential", 1),
    )
    leave(tmp_path, measured(first, 1.0, phases={"total": 100.0}))
    start(tmp_path, second, HERE)
    paths = study(tmp_path, first, second, third, other)
    progress = look(paths, first, second, third)
    assert progress.left_s == pytest.approx(200, abs=5)
    # the finished one, and the beginning of the second
    assert progress.used == pytest.approx(100 / 3600, abs=5 / 3600)
    assert "node-hours: 0.02" in progress.cost_line
    assert ", about 0.08" in progress.cost_line
    with_other = look(paths, first, second, third, other)
    assert with_other.left_s is None
    assert with_other.left_line == "time left not known: no repeat of 1 run has ended"
    assert with_other.as_dict()["left_s"] is None
    assert ", about" not in with_other.cost_line


@pytest.mark.parametrize(
    ("by", "ended", "old", "state"),
    [
        (HERE, False, False, "running"),
        (THERE, False, False, "running"),
        (THERE, False, True, "failed"),  # it is past its time limit
        (THERE, True, False, "failed"),
        (Holder(HERE.pid, HERE.host, HERE.boot_id, started=1), False, False, "failed"),
    ],
)
def test_whether_a_run_is_being_made_is_told_by_its_process_or_its_limit(
    tmp_path: Path, by: Holder, ended: bool, old: bool, state: str
) -> None:
    spec = preprocess_spec("sequential", 1)
    run = start(tmp_path, spec, by)
    if ended:
        run.exit.write_text('{"code": 3}')
    if old:
        os.utime(run.lock, (1.0, 1.0))
    progress = look(study(tmp_path, spec), spec)
    assert progress.states == {spec.run_id: state}
    assert progress.active is (state == "running")


def test_the_last_failures_come_first_with_their_reasons(tmp_path: Path) -> None:
    specs = [preprocess_spec("dask", workers) for workers in (1, 2, 4, 8)]
    for age, spec in enumerate(specs):
        run = leave(tmp_path, measured(spec, None, status="failed", reason=f"no luck at {age}"))
        os.utime(run.record, (1e9 - age, 1e9 - age))
    progress = look(study(tmp_path, *specs), *specs)
    failed = [line for line in progress.lines if line.startswith("failed")]
    assert failed[0] == f"failed   {specs[0].run_id}: no luck at 0"
    assert failed[3] == "failed   1 earlier one"
    assert progress.exit_code == 1


@pytest.mark.parametrize(
    ("made", "failed", "code", "told"),
    [
        (2, 0, 0, "all runs have ended"),
        (1, 1, 1, "all runs have ended"),
        (1, 0, 1, "1 run left and none running: sweep again to resume"),
    ],
)
def test_following_ends_with_the_studys_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: int,
    failed: int,
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr(follow, "SETTLE_S", 0.0)
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.01)
    specs = [preprocess_spec("sequential", 1, repeat) for repeat in range(2)]
    for spec in specs[:made]:
        leave(tmp_path, measured(spec, 1.0))
    for spec in specs[made : made + failed]:
        leave(tmp_path, measured(spec, None, status="failed", reason="no luck"))
    study(tmp_path, *specs)
    options = ["status", "--follow", "--results", str(tmp_path)]
    assert main(options) == code
    shown = capsys.readouterr()
    assert told in shown.out.splitlines()
    assert (f"failed   {specs[-1].run_id}: no luck" in shown.out.splitlines()) is bool(failed)
    assert main([*options, "--json"]) == code
    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line)["states"]) == 2


def test_on_a_terminal_the_picture_is_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = preprocess_spec("sequential", 1)
    leave(tmp_path, measured(spec, 1.0))
    study(tmp_path, spec)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["status", "--follow", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert "study demo: 1 of 1 run done" in shown


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--follow"], "--follow is an option of `status`"),
        (["status", "--live"], "with status, --live needs --follow"),
        (["clean", "--live"], "--live is an option of a sweep and of `status --follow`"),
    ],
)
def test_options_that_do_not_belong_are_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(options)
    assert error in capsys.readouterr().err


def test_beside_runs_on_this_machine_no_report_is_written(tmp_path: Path) -> None:
    study(tmp_path, preprocess_spec("sequential", 1))
    with pytest.raises(UserError, match="would take CPU from runs that are measured"):
        main(["status", "--follow", "--live", "--results", str(tmp_path)])


def test_why_jobs_wait_is_shown_until_none_can_start_and_slurm_may_be_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = preprocess_spec("sequential", 1)
    paths = study(tmp_path, spec)
    entry = Submission("t", "whpc-s-t", "x", [spec.run_id], "2026-11-28T10:00:00+00:00", 5)
    ledger.save(paths, entry)
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(QUEUE.format(calls=tmp_path / "calls"))
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(pending, "STUCK_S", 0.0)
    for name in ("LOOK_EVERY_S", "ASK_EVERY_S"):
        monkeypatch.setattr(follow, name, 0.01)
    assert main(["status", "--follow", "--results", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == "study demo: 0 of 1 run done, 1 queued"
    assert lines[1] == "time left not known: 1 run in the queue"
    assert "waiting  1 job pending: are held by their user (JobHeldUser): `scontrol" in shown
    assert shown.count("Slurm does not answer: jobs are shown as they were") == 1
    assert lines[-1] == "not followed any longer: no job that is left can start"
    assert not paths.run(spec.run_id).slurm.exists()


def test_a_live_report_is_written_where_it_is_due_and_is_never_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (preprocess_spec("sequential", 1, repeat) for repeat in range(2))
    leave(tmp_path, measured(first, 1.0))
    paths, plan = study(tmp_path, first, second), Plan("demo", "/images", None, (first, second))
    live = LiveReport(paths, plan, jobs=False)
    live.look({})
    page = paths.report.read_text()
    assert '<p id="live"' in page
    assert "Live: 1 of 2 runs done, 1 to come; " in page
    (until,) = re.findall(r'data-until="(\d+)"', page)
    assert 3600 < int(until) - time.time() < 3600 + 700  # the time limit of the other run
    leave(tmp_path, measured(second, 1.0))
    live.look({})
    assert paths.report.read_text() == page  # so soon, and the last: the sweep writes the whole
    paths.rows.unlink()
    (paths.rows / "in the way").mkdir(parents=True)
    LiveReport(paths, Plan("demo", "/images", None, (first, second, preprocess_spec("dask", 1))),
               jobs=False).look({})  # fmt: skip
    assert "live report: not written: " in capsys.readouterr().err


def test_a_resumed_run_counts_its_epochs_from_the_resume(tmp_path: Path) -> None:
    spec = train_spec("single", 1, task={"epochs": 10})
    events = [epoch(1, 100.0), epoch(2, 105.0), {"event": "resume", "at": 900.0},
              {"event": "input", "at": 901.0}, epoch(3, 911.0)]  # fmt: skip
    run = start(tmp_path, spec, HERE, *events)
    with run.events.open("a") as file:
        file.write('{"event": "ep')  # being written
    progress = read_progress(run, spec)
    assert (progress.epoch, progress.epoch_s, progress.left_s) == (3, 10.0, 70.0)
    assert progress.resumed
