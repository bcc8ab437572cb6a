"""Waiting for jobs, as a table on a terminal and as lines elsewhere."""

import os
import sys
from pathlib import Path

import pytest

from tests.records_maker import leave, measured, preprocess_spec
from weather_hpc.launch import watch
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm import ledger, pending
from weather_hpc.slurm.client import Slurm
from weather_hpc.slurm.ledger import Submission
from weather_hpc.study.site import SlurmSite

QUEUE = """\
#!/bin/sh
[ -e {seen} ] && state='DependencyNeverSatisfied' || state='JobHeldUser'
touch {seen}
echo "5_0|whpc-s-t|PENDING|2026-11-28T10:00:00|N/A||$state"
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_why_jobs_wait_and_runs_fail_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    paths = StudyPaths(tmp_path)
    specs = [preprocess_spec("dask", workers) for workers in (1, 2, 4, 8)]
    for spec, reason in zip(specs[1:], ("no luck at 1", "no luck at 2", "no wits"), strict=True):
        leave(tmp_path, measured(spec, None, status="failed", reason=reason))
    entry = Submission("t", "whpc-s-t", "x", [specs[0].run_id], "2026-11-28T10:00:00+00:00", 5)
    ledger.save(paths, entry)
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(QUEUE.format(seen=tmp_path / "seen"))
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(watch, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(pending, "STUCK_S", 0.0)
    states = watch.wait(paths, specs, SlurmSite(), Slurm())
    assert sorted(map(str, states.values())) == ["failed", "failed", "failed", "pending"]
    told = capsys.readouterr().err
    for line in (
        "1 job pending: are held by their user (JobHeldUser): `scontrol release 5_0`",
        "and can never start (DependencyNeverSatisfied): `scancel 5_0`, then sweep again",
        f"{specs[1].run_id} failed: no luck at 1",
        f"{specs[3].run_id} failed: no wits",
        "not waiting any longer: 1 job left, none can start",
    ):
        assert line in told
    assert "no luck at 2" not in told  # the summary counts those that fail alike
    assert ("\x1b[" in told) is terminal
