"""Comparison with a reference: regressions, and what cannot be compared."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave_all, measured, preprocess_spec, train_spec
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.collect.reference import ReferenceComparison, compare_with_reference
from weather_hpc.collect.reference_csv import load_reference
from weather_hpc.collect.reference_tolerance import Tolerance
from weather_hpc.collect.sources import find_runs, read_runs
from weather_hpc.errors import UserError
from weather_hpc.report.write import write_table
from weather_hpc.runs.row import Row, Severity

DEFAULT = Tolerance()


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Three repeats each of single (10 s) and ddp on 2 ranks (6 s), and one preprocessing run."""
    root = tmp_path / "today"
    records = [measured(preprocess_spec("sequential", 1), 4.0)]
    for repeat in range(3):
        late = repeat / 10
        records.append(measured(train_spec("single", 1, repeat), 10 + late))
        records.append(measured(train_spec("ddp", 2, repeat), 6 + late))
    leave_all(root, records)
    return [reading.row for reading in read_runs(find_runs([root]))]


def tables(rows: list[Row]) -> list[ScalingTable]:
    """Both tables of ``rows``."""
    return [compare(rows).preprocess.table, compare(rows).training.table]


def changed(rows: list[Row], factor: float = 1.0, **values: Any) -> list[Row]:
    """``rows``, of which the ddp runs took ``factor`` of the time."""
    return [
        dataclasses.replace(row, time_s=(row.time_s or 0) * factor, **values)
        if row.strategy == "ddp" else row
        for row in rows
    ]  # fmt: skip


def yesterday(tmp_path: Path, rows: list[Row]) -> Path:
    """The tables of ``rows``, as an earlier collection leaves them."""
    for table in tables(rows):
        write_table(tmp_path / "good" / "tables", table)
    return tmp_path / "good"


def compared(path: Path, rows: list[Row], tolerance: Tolerance = DEFAULT) -> ReferenceComparison:
    """``rows`` compared with the reference in ``path``."""
    return compare_with_reference(tables(rows), load_reference(path), tolerance)


def verdicts(comparison: ReferenceComparison, name: str = "time_s") -> dict[str, str]:
    """The verdicts on one measurement by configuration."""
    return {
        line["configuration"]: line["verdict"]
        for line in comparison.table.rows
        if line["figure"] == name
    }


def csv(tmp_path: Path, text: str, name: str = "ddp_lab.csv") -> Path:
    """A foreign reference."""
    path = tmp_path / name
    path.write_text(text)
    return path


DDP = "ddp on cpu, 2 ranks, batch 32"


def test_equal_values_are_no_regression_at_any_tolerance(tmp_path: Path, rows: list[Row]) -> None:
    for folder in ("good", "good/tables", "good/tables/training.csv"):
        yesterday(tmp_path, rows)
        comparison = compared(tmp_path / folder, rows, Tolerance(0.0, 0.0, 0.0))
        assert not comparison.failed
        assert set(verdicts(comparison).values()) <= {"ok", "not in reference"}
        assert comparison.findings == []


def test_a_slower_configuration_is_a_regression_and_an_error(
    tmp_path: Path, rows: list[Row]
) -> None:
    comparison = compared(yesterday(tmp_path, rows), changed(rows, 1.5))
    assert (comparison.regressions, comparison.compared, comparison.failed) == (1, 3, True)
    assert comparison.summary == "reference: 3 configurations compared, 1 regression"
    (finding,) = comparison.findings
    assert (finding.severity, finding.code) == (Severity.ERROR, "reference_mismatch")
    assert "regression: time_s 9.15 against 6.1 (tolerance 0.1), speedup" in finding.message
    assert finding.message.endswith("training.csv:3")
    assert verdicts(comparison)["single on cpu, 1 rank, batch 32"] == "ok"


def test_a_faster_configuration_is_only_a_warning(tmp_path: Path, rows: list[Row]) -> None:
    comparison = compared(yesterday(tmp_path, rows), changed(rows, 0.5))
    assert not comparison.failed
    assert [f.severity for f in comparison.findings] == [Severity.WARNING]
    assert verdicts(comparison)[DDP] == "improvement"


UNITS = [
    ("time", 1 / 60, "60 times longer than the reference, which looks like minutes", "time_min"),
    ("time_s", 1 / 3600, "3600 times longer than the reference, which looks like hours", "time_h"),
    ("Time", 1000, "1000 times shorter than the reference, which looks like millis", "time_ms"),
    ("Time (min)", 1, "60 times shorter than the reference, which looks like seconds", "time_s"),
    (
        "Time (h)",
        1 / 60,
        "60 times shorter than the reference, which looks like minutes",
        "time_min",
    ),
]


@pytest.mark.parametrize(("head", "unit", "text", "name"), UNITS)
def test_a_constant_ratio_is_a_unit(
    tmp_path: Path, rows: list[Row], head: str, unit: float, text: str, name: str
) -> None:
    # rounded, and one a third slower than the other
    lines = f"single,1,{10.1 * unit:.3g}\nddp,2,{6.1 / 1.3 * unit:.3g}\n"
    comparison = compared(csv(tmp_path, f"strategy,ranks,{head}\n{lines}", "lab.csv"), rows)
    assert (comparison.regressions, comparison.compared, comparison.failed) == (0, 0, True)
    of_table = verdicts(comparison)
    for configuration in ("single on cpu, 1 rank, batch 32", DDP):
        assert of_table[configuration].startswith(f"cannot be compared: {text}")
        assert of_table[configuration].endswith(f"name the column {name}")
    assert text in comparison.summary


def test_a_slow_configuration_among_others_is_no_unit(tmp_path: Path, rows: list[Row]) -> None:
    text = "strategy,ranks,batch_size,time\nsingle,1,32,10\nddp,2,32,0.1\n"
    comparison = compared(csv(tmp_path, text), rows)
    assert verdicts(comparison)[DDP] == "regression"
    assert (comparison.compared, comparison.regressions) == (2, 1)


def test_the_time_of_one_epoch_is_no_regression(tmp_path: Path, rows: list[Row]) -> None:
    long = [dataclasses.replace(row, epochs=20) for row in rows]
    comparison = compared(csv(tmp_path, "ranks,batch_size,time\n2,32,0.3\n"), long)
    assert verdicts(comparison)[DDP] == (
        "cannot be compared: 20 times longer than the reference, "
        "which looks like the time of one epoch"
    )


def test_throughput_is_worse_if_it_is_lower(tmp_path: Path, rows: list[Row]) -> None:
    ours = next(row.images_per_s for row in rows if row.strategy == "ddp" and row.repeat == 1)
    assert ours is not None
    for factor, verdict in (
        (1.0, "ok"),
        (1.3, "regression"),
        (0.7, "improvement"),
        (0.1, "cannot be compared: 10 times more; check the unit and the work"),
    ):
        path = csv(tmp_path, f"ranks,batch_size,Img/sec\n2,32,{ours * factor}\n")
        comparison = compared(path, rows)
        assert verdicts(comparison, "images_per_s")[DDP] == verdict
        assert comparison.failed == (verdict != "ok" and factor != 0.7)
    # a log may not tell the number of images
    unknown = [dataclasses.replace(row, images_per_s=None) for row in rows]
    verdict = verdicts(compared(path, unknown), "images_per_s")[DDP]
    assert verdict.startswith("cannot be compared: images_per_s is not known here")


def test_repeats_of_the_reference_are_said(tmp_path: Path, rows: list[Row]) -> None:
    text = "ranks,batch_size,run,time_s\n2,32,1,6.0\n2,32,2,6.1\n2,32,3,6.9\n"
    comparison = compared(csv(tmp_path, text), rows)
    (line,) = [row for row in comparison.table.rows if row["verdict"] == "ok"]
    assert (line["reference"], line["source"].rpartition("/")[2]) == (
        6.1,
        "ddp_lab.csv:2,3,4 (median)",
    )
    notes = "medians of 1 configuration of ddp_lab.csv"
    assert f"Read from the reference: {notes}." in comparison.table.caption
    assert comparison.summary == f"reference: 1 configuration compared, no regression ({notes})"


@pytest.mark.parametrize("ending", ["md", "tex"])
def test_our_own_tables_are_read_in_other_forms_too(
    tmp_path: Path, rows: list[Row], ending: str
) -> None:
    comparison = compared(yesterday(tmp_path, rows) / "tables" / f"training.{ending}", rows)
    assert (comparison.compared, comparison.regressions) == (2, 0)


def test_names_of_models_may_be_written_in_other_ways(tmp_path: Path, rows: list[Row]) -> None:
    model = next(row.model for row in rows if row.strategy == "ddp")
    assert model is not None
    path = csv(tmp_path, f"ranks,batch_size,model,time_s\n2,32,{model.upper()},6.1\n")
    assert verdicts(compared(path, rows))[DDP] == "ok"


def test_another_unit_is_no_improvement(tmp_path: Path, rows: list[Row]) -> None:
    comparison = compared(csv(tmp_path, "ranks,batch_size,time_s\n2,32,6100\n"), rows)
    assert comparison.failed
    assert verdicts(comparison)[DDP].startswith("cannot be compared: 1000 times shorter")


@pytest.mark.parametrize(
    "text",
    [
        "ranks;batch_size;time_s\n2;32;6.1\n",
        "World Size\tBatch Size\tTime (s)\n2\t32\t6.1\n",
        "n_ranks,bs,seconds\n2,32,6.1\n",
        "Number of ranks, batch size, Total time\n2, 32, 6.1\n",
    ],
)
def test_foreign_headers_are_recognized(tmp_path: Path, rows: list[Row], text: str) -> None:
    assert verdicts(compared(csv(tmp_path, text), rows))[DDP] == "ok"


def test_within_the_noise_is_no_regression(tmp_path: Path, rows: list[Row]) -> None:
    noisy = [
        dataclasses.replace(row, time_s=[6.0, 8.0, 9.0][row.repeat or 0])
        if row.strategy == "ddp" else row
        for row in rows
    ]  # fmt: skip
    reference = yesterday(tmp_path, rows)
    assert verdicts(compared(reference, noisy))[DDP].startswith("ok: within noise")
    # a reference without an interval is compared by its value alone
    foreign = csv(tmp_path, "ranks,batch_size,time_s\n2,32,6.1\n")
    assert verdicts(compared(foreign, noisy))[DDP] == "regression"


def test_accuracy_has_its_own_tolerance(tmp_path: Path, rows: list[Row]) -> None:
    reference = yesterday(tmp_path, rows)
    worse = changed(rows, test_accuracy=0.47)
    assert verdicts(compared(reference, worse), "test_accuracy")[DDP] == "regression"
    loose = Tolerance.parse("test_accuracy=0.05")
    assert verdicts(compared(reference, worse, loose), "test_accuracy")[DDP] == "ok"
    unmeasured = compared(reference, changed(rows, test_accuracy=None))
    assert verdicts(unmeasured, "test_accuracy")[DDP] == "missing here"
    assert (unmeasured.compared, unmeasured.failed) == (3, False)


def test_a_faster_baseline_is_no_regression_of_the_speedup(tmp_path: Path, rows: list[Row]) -> None:
    faster = [
        dataclasses.replace(row, time_s=(row.time_s or 0) / 2) if row.strategy == "single" else row
        for row in rows
    ]
    comparison = compared(yesterday(tmp_path, rows), faster)
    assert verdicts(comparison, "speedup")[DDP].startswith("ok: time_s is no regression")
    assert not comparison.failed


def test_a_configuration_that_failed_today_is_reported(tmp_path: Path, rows: list[Row]) -> None:
    reference = yesterday(tmp_path, rows)
    broken = changed(rows, status="failed", table=None, reason="exit code 1")
    comparison = compared(reference, broken)
    assert "missing here: failed: exit code 1" in verdicts(comparison)[DDP]
    assert [f.severity for f in comparison.findings] == [Severity.WARNING]


def test_configurations_on_one_side_only_are_reported(tmp_path: Path, rows: list[Row]) -> None:
    comparison = compared(csv(tmp_path, "ranks,batch_size,time_s\n2,32,6\n4,32,3\n8,32,2\n"), rows)
    times = verdicts(comparison)
    assert times["strategy ddp, world_size 4, batch_size_per_device 32"] == "missing here"
    assert times["single on cpu, 1 rank, batch 32"] == "not in reference"
    (finding,) = comparison.findings
    assert finding.message.startswith("2 configurations of ")


def test_a_reference_without_comparable_rows_fails(tmp_path: Path, rows: list[Row]) -> None:
    comparison = compared(csv(tmp_path, "gpus,batch_size,time_s\n2,32,97\n"), rows)
    assert (comparison.compared, comparison.failed) == (0, True)
    assert comparison.findings[-1].severity is Severity.ERROR
    assert comparison.summary == "reference: no configuration could be compared"


def test_other_work_is_not_compared(tmp_path: Path, rows: list[Row]) -> None:
    path = csv(tmp_path, "ranks,batch_size,epochs,time_s\n2,32,20,6\n")
    verdict = verdicts(compared(path, rows))[DDP]
    assert verdict == "cannot be compared: epochs 2 here, 20 in the reference"
    # a row of other work does not hide the row that matches
    path.write_text("ranks,batch_size,epochs,time_s\n2,32,20,60\n2,32,2,6\n")
    assert verdicts(compared(path, rows))[DDP] == "ok"


def test_a_row_that_matches_several_is_not_compared(tmp_path: Path, rows: list[Row]) -> None:
    longer = [
        dataclasses.replace(row, epochs=9, configuration=f"{row.configuration}-9")
        for row in rows
        if row.strategy == "ddp"
    ]
    comparison = compared(csv(tmp_path, "ranks,batch_size,time_s\n2,32,6\n"), rows + longer)
    assert comparison.failed
    (verdict,) = [v for v in verdicts(comparison).values() if v.startswith("cannot")]
    assert "2 configurations here match" in verdict
    assert "epochs 2" in verdict
    assert "epochs 9" in verdict


def test_several_rows_that_match_one_are_not_compared(tmp_path: Path, rows: list[Row]) -> None:
    unnamed = [dataclasses.replace(row, strategy=None) for row in rows if row.strategy == "ddp"]
    path = csv(tmp_path, "strategy,ranks,time_s\nddp,2,6\ndp,2,9\n", "training.csv")
    comparison = compared(path, unnamed)
    assert all("several rows of the reference match" in v for v in verdicts(comparison).values())
    assert comparison.failed


@pytest.mark.parametrize("name", ["preprocess", "training_p100", "dp_rtx3070", "ddp_rtx3070"])
def test_the_papers_tables_are_read(name: str) -> None:
    path = Path(__file__).resolve().parents[2] / "results" / "paper" / f"{name}.csv"
    reference = load_reference(path)
    lines = path.read_text().splitlines()
    assert len(reference.rows) == len(lines) - 1
    assert {row.table for row in reference.rows} == {
        "preprocess" if name == "preprocess" else "training"
    }
    if name == "ddp_rtx3070":
        first = reference.rows[0]
        assert first.label == "strategy ddp, device cuda, world_size 1, batch_size_per_device 32"
        assert reference.unused == ()
    if name == "training_p100":
        assert [row.key["device"] for row in reference.rows] == ["cpu", "cuda", "cuda", "cuda"]
        assert reference.unused == ("speedup_vs_1gpu, efficiency of training_p100.csv",)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (
            "",
            "ddp.csv",
            "or images_per_s; columns: none",
        ),
        ("ranks,batch_size\n2,32\n", "ddp.csv", "ddp.csv:1: no column time_s"),
        ("batch_size,time_s\n2,3\n", "ddp.csv", "ddp.csv:1: no column workers"),
        ("ranks,time_s\n2,3\n", "lab.csv", "lab.csv:1: preprocessing or training"),
        ('ranks,time_s\n2,"3,5"\n', "ddp.csv", "ddp.csv:2: time_s: '3,5' is not a number above 0"),
        ("ranks,time_s\n2,-3\n", "ddp.csv", "ddp.csv:2: time_s: '-3' is not a number above 0"),
        ("ranks,time_s\n2,nan\n", "ddp.csv", "ddp.csv:2: time_s: 'nan' is not a number above 0"),
        ("ranks,time_s\n\n2,fast\n", "ddp.csv", "ddp.csv:3: time_s: 'fast' is not a number"),
        ("ranks,time_s\n1.5,3\n", "ddp.csv", "ddp.csv:2: ranks: '1.5' is not a whole number"),
        ("ranks,time_s\n1e400,3\n", "ddp.csv", "ddp.csv:2: ranks: '1e400' is not a whole number"),
        ("ranks,time_s\n,3\n", "ddp.csv", "ddp.csv:2: ranks: is empty"),
        ("ranks,time_s\n2,3\n2,40\n", "ddp.csv", "ddp.csv:3: the same configuration as in line 2"),
        ("ranks,time_s\n2,3,4\n", "ddp.csv", "ddp.csv:2: 3 cells; the header has 2"),
        ("ranks,time_s,time_s\n2,3,4\n", "ddp.csv", "ddp.csv:1: two columns are named time_s"),
        ("ranks,accuracy\n2,55\n", "ddp.csv", "'55' is not a fraction between 0 and 1"),
        ("ranks,time_s\n2,\n", "ddp.csv", "holds no row with any of time_s"),
        ('ranks,time_s\n2,"3\n', "ddp.csv", "ddp.csv: not a CSV in UTF-8"),
    ],
)
def test_an_unreadable_reference_is_one_line(
    tmp_path: Path, text: str, name: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_reference(csv(tmp_path, text, name))
    assert message in str(caught.value)


def test_binary_folders_without_tables_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00ranks")
    for path in (tmp_path / "b.csv", tmp_path / "none", tmp_path):
        with pytest.raises(UserError):
            load_reference(path)
    (tmp_path / "b.csv").unlink()
    csv(tmp_path, "law,fraction\namdahl,0.1\n", "laws.csv")
    with pytest.raises(UserError, match="holds no CSV with a column time_s"):
        load_reference(tmp_path)
    csv(tmp_path, "ranks,time_s\n2,3\n")
    assert load_reference(tmp_path).unused == (
        "laws.csv (no column time_s or speedup or test_accuracy or images_per_s)",
    )


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        ("0.2", Tolerance(0.2, 0.2, 0.02)),
        ("time_s=0.05", Tolerance(0.05, 0.1, 0.02)),
        ("time_s=0.1, test_accuracy=0", Tolerance(0.1, 0.1, 0.0)),
    ],
)
def test_tolerances(text: str, tolerance: Tolerance) -> None:
    assert Tolerance.parse(text) == tolerance


@pytest.mark.parametrize("text", ["", "ten", "10", "-0.1", "nan", "times=0.1", "time_s", "0.1,0.2"])
def test_wrong_tolerances_are_one_line(text: str) -> None:
    with pytest.raises(UserError, match="--tolerance"):
        Tolerance.parse(text)
