"""A speedup above the number of workers is told, whatever it is measured against."""

from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import measured, preprocess_spec, train_spec
from weather_hpc.analysis.comparison import Comparison, compare
from weather_hpc.analysis.steps import comparisons_table
from weather_hpc.collect.audit import audit
from weather_hpc.report.findings import key_findings
from weather_hpc.runs.row import Code, Finding, Row, Severity
from weather_hpc.runs.run import Run
from weather_hpc.study.spec import RunSpec


def runs(spec: RunSpec, *times: float, **changes: Any) -> list[Row]:
    """Rows of ``spec``, one for each time."""
    rows = []
    for repeat, time_s in enumerate(times):
        again = spec.model_copy(update={"repeat": repeat})
        record = measured(again, time_s, **changes)
        rows.append(Run(again.run_id, Path("x"), record.status, None, again,
                        record).row)  # fmt: skip
    return rows


def told(comparison: Comparison) -> list[Finding]:
    return [f for f in audit([], comparison) if f.code is Code.SUPERLINEAR]


def grown(stage: str, workers: int, images: int | None) -> RunSpec:
    """A run of ``stage``; with ``images`` of weak scaling."""
    scaling: Any = {"scaling": "strong" if images is None else "weak"}
    task = {"images": images}
    if stage == "train":
        return train_spec("ddp", workers, task=task, **scaling)
    if stage == "preprocess":
        return preprocess_spec("dask", workers, task=task, **scaling)
    fields: dict[str, Any] = {
        "study": "demo", "stage": stage, "data": "/images", **scaling,
        "task": {"kind": stage, "workers": workers, **task} | (
            {"backend": "dask"} if stage == "eda"
            else {"engine": "numpy", "operation": "mean-std"}
        ),
    }  # fmt: skip
    return RunSpec.model_validate(fields)


@pytest.mark.parametrize("stage", ["preprocess", "eda", "array", "train"])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("weak", [False, True])
def test_of_every_stage_and_scaling(stage: str, repeats: int, weak: bool) -> None:
    rows = runs(grown(stage, 1, 100 if weak else None), *[10.0] * repeats)
    # the same images in a third of the time, or twice the images in less time
    rows += runs(grown(stage, 2, 200 if weak else None), *[6.0 if weak else 3.0] * repeats)
    comparison = compare(rows)
    (finding,) = told(comparison)
    assert finding.severity is Severity.WARNING
    table = next(s.table for s in comparison.stages if s.table.rows)
    assert "super-linear" in table.rows[-1]["note"]
    (step,) = comparisons_table(comparison).rows
    assert "super-linear" in step["note"]
    sentences = [s for s in key_findings(comparison, []) if s.startswith("Super-linear")]
    assert [table.label(table.rows[-1]) in s for s in sentences] == [True]


def test_of_a_size_that_has_not_the_best_speedup() -> None:
    rows = runs(preprocess_spec("sequential", 1), 10.0)
    rows += runs(preprocess_spec("dask", 2), 4.0) + runs(preprocess_spec("dask", 8), 2.0)
    (sentence,) = [s for s in key_findings(compare(rows), []) if s.startswith("Super-linear")]
    assert "in 1 configuration: dask, 2 workers (2.50)" in sentence


def test_without_a_run_on_one_worker() -> None:
    comparison = compare(runs(train_spec("ddp", 2), 10.0) + runs(train_spec("ddp", 4), 2.0))
    (finding,) = told(comparison)
    assert "5.00 times as fast with 4 against 2 ranks" in finding.message


def test_of_a_method_on_one_worker() -> None:
    rows = runs(preprocess_spec("sequential", 1), 10.0) + runs(preprocess_spec("dask", 1), 5.0)
    comparison = compare(rows)
    assert len(told(comparison)) == 1
    assert "super-linear" in comparison.preprocess.table.rows[-1]["note"]


def test_an_explained_one_is_told_with_its_explanation() -> None:
    spec = grown("array", 1, None)
    values = spec.model_dump()
    other = RunSpec.model_validate(values | {"task": values["task"] | {"engine": "opencv"}})
    comparison = compare(runs(spec, 10.0) + runs(other, 2.0))
    (finding,) = told(comparison)
    assert finding.severity is Severity.INFO
    assert finding.message.endswith("its baseline is another program")
    assert not [s for s in key_findings(comparison, []) if s.startswith("Super-linear")]


def test_none_is_told_within_the_workers() -> None:
    rows = runs(preprocess_spec("sequential", 1), 10.0) + runs(preprocess_spec("dask", 2), 4.9)
    comparison = compare(rows)
    assert told(comparison) == []
    assert not [s for s in key_findings(comparison, []) if s.startswith("Super-linear")]
