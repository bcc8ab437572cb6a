"""A stage whose first runs fail alike, by the records that they leave."""

import io
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc.launch.first_runs import FirstRuns, alike_failure
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec, Stage

DASK = [preprocess_spec("dask", workers) for workers in (1, 2, 4, 8)]
DDP = [train_spec("ddp", ranks) for ranks in (1, 2, 4)]
PLAN = Plan("s", "/images", None, (*DASK, *DDP))


def ended(folder: Path, *ends: tuple[RunSpec, str, str]) -> list[RunSpec]:
    """Leave runs with these ends: spec, status, reason."""
    for spec, status, reason in ends:
        time_s = 1.0 if status == "ok" else None
        leave(folder, measured(spec, time_s, status=status, reason=reason or None))
    return [spec for spec, _, _ in ends]


def stage_of(folder: Path, made: list[RunSpec]) -> Stage | None:
    failure = alike_failure(StudyPaths(folder), PLAN, made)
    return failure.stage if failure else None


@pytest.mark.parametrize(
    ("ends", "stops"),
    [
        ([("failed", "rank 0 on node1: no luck"), ("failed", "rank 3 on node17: no luck")] * 2, 1),
        ([("failed", "cannot read '/a b.jpg' (errno 5)"),
          ("failed", "cannot read '/c.jpg' (errno 13)"),
          ("failed", "cannot read 'd' (errno 2)")], 1),
        ([("out_of_memory", "2.1 GB"), ("out_of_memory", "4 GB"), ("out_of_memory", "8.2 GB")], 1),
        ([("timeout", "exceeded its time limit of 1 min")] * 3, 1),
        ([("failed", "no luck")] * 2, 0),  # too few
        ([("failed", "no luck"), ("failed", "no compiler"), ("failed", "no luck")], 0),
        ([("failed", "no luck"), ("timeout", "no luck"), ("failed", "no luck")], 0),
        ([("failed", "no luck")] * 3 + [("ok", "")], 0),
        ([("cancelled", "by hand")] * 3, 0),
        ([("skipped", "asks for 8 CPUs")] * 3, 0),
        ([("node_fail", "node1 is down")] * 3, 0),
    ],
)  # fmt: skip
def test_runs_fail_alike_apart_from_names_and_numbers(
    tmp_path: Path, ends: list[tuple[str, str]], stops: bool
) -> None:
    made = ended(tmp_path, *((DASK[i], *end) for i, end in enumerate(ends)))
    assert stage_of(tmp_path, made) == (Stage.PREPROCESS if stops else None)


def test_each_stage_is_judged_for_itself(tmp_path: Path) -> None:
    made = ended(
        tmp_path,
        *((spec, "ok", "") for spec in DASK),
        *((spec, "failed", "no luck") for spec in DDP),
    )
    assert stage_of(tmp_path, made) is Stage.TRAIN


def test_a_stage_that_has_worked_before_is_not_stopped(tmp_path: Path) -> None:
    ended(tmp_path, (DASK[0], "ok", ""))
    made = ended(tmp_path, *((spec, "failed", "no luck") for spec in DASK[1:]))
    assert stage_of(tmp_path, made) is None


def test_the_message_has_the_reason_and_the_last_line_of_the_log(tmp_path: Path) -> None:
    made = ended(tmp_path, *((spec, "failed", "no luck") for spec in DASK[:3]))
    log = StudyPaths(tmp_path).run(DASK[0].run_id).stderr
    log.write_text("one\ncannot open shared object\x1b[0m\n\n")
    assert str(alike_failure(StudyPaths(tmp_path), PLAN, made)) == (
        "the first 3 runs of stage preprocess failed alike: no luck "
        f"(see {log}; its last line: cannot open shared object\\x1b[0m)"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "stops"), [("y\n", False), ("n\n", True), ("", True)])
def test_a_user_at_a_terminal_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, stops: bool
) -> None:
    made = ended(tmp_path, *((spec, "failed", "no luck") for spec in DASK[:3]))
    screen = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stderr", screen)
    first_runs = FirstRuns(StudyPaths(tmp_path), PLAN)
    failure = first_runs.failure(made)
    assert failure is not None
    assert first_runs.stops(failure, 4) == stops
    assert "make the other 4 runs all the same? [y/N]" in screen.getvalue()
    assert ("4 runs not made: sweep again" in screen.getvalue()) == stops
    assert first_runs.failure(made) is None
    assert list(first_runs.stopped) == ([Stage.PREPROCESS] if stops else [])


def test_who_keeps_going_is_not_asked(tmp_path: Path) -> None:
    made = ended(tmp_path, *((spec, "failed", "no luck") for spec in DASK[:3]))
    arguments: Any = (StudyPaths(tmp_path), PLAN, True)
    assert FirstRuns(*arguments).failure(made) is None
