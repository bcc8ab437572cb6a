"""weather_hpc.load: the results of a study in Python."""

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import weather_hpc
from tests.records_maker import leave_all, measured, preprocess_spec
from weather_hpc.analysis.verdict import Trust
from weather_hpc.api import Results
from weather_hpc.api.figures import Figures
from weather_hpc.collect.pipeline import collect
from weather_hpc.errors import UserError
from weather_hpc.report import write
from weather_hpc.study.stages import BY_TABLE

EXAMPLE = Path(__file__).parents[1] / "results" / "example"


PATTERN = "{strategy}_{gpus}gpu_{model}_bs{batch_size}.log"


@pytest.fixture(scope="module")
def results() -> Results:
    return weather_hpc.load(EXAMPLE)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What collect writes, without the plots."""
    out = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "with_plots", lambda report, folder: report)
        collect([EXAMPLE], out)
    return out


def _log(folder: Path, model: str) -> Path:
    log = folder / f"ddp_2gpu_{model}_bs32.log"
    log.write_text("Epoch 1 loss 0.5\nTotal training time: 12 s\n")
    return log


def _same(frame: pd.DataFrame, file: Path) -> None:
    """Every cell of the CSV is that of the frame; its numbers have six digits."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(frame) > 0
    assert set(rows[0]) == set(frame.columns)
    for row, (_, line) in zip(rows, frame.iterrows(), strict=True):
        for column, text in row.items():
            value = line[column]
            if pd.isna(value):
                assert text == ""
            elif isinstance(value, float | np.floating):
                assert float(text) == pytest.approx(value, rel=1e-5)
            else:
                assert text.casefold() == str(value).casefold()


def test_frames_are_what_collect_writes(results: Results, written: Path) -> None:
    _same(results.training, written / "tables/training.csv")
    _same(results.preprocess, written / "tables/preprocess.csv")
    _same(results.rows, written / "rows.csv")
    _same(results.audit, written / "audit.csv")
    files = {file.stem for file in (written / "tables").glob("*.csv")}
    assert files == set(results.tables)
    for name in ("laws", "comparisons", "phases"):
        _same(results.table(name), written / f"tables/{name}.csv")


def test_loading_writes_nothing(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "copy")
    before = sorted(copy.rglob("*"))
    loaded = weather_hpc.load(copy)
    _ = loaded.curves, loaded.plot.speedup(), loaded._repr_html_()
    assert sorted(copy.rglob("*")) == before


def test_a_column_has_one_kind_whether_values_are_missing_or_not(
    results: Results, tmp_path: Path
) -> None:
    rows, logs = results.rows, weather_hpc.load(_log(tmp_path, "one"), pattern=PATTERN).rows
    for column in ("time_s", "repeat", "device_name", "oversubscribe", "energy_j"):
        assert rows[column].dtype == logs[column].dtype, column
    assert results.telemetry["device_power_w"].isna().all()
    assert results.telemetry["device_power_w"].dtype == "Float64"


def test_curves_and_telemetry_belong_to_runs(results: Results) -> None:
    epochs = results.curves.groupby("run_id")["epoch"].apply(list)
    training = results.rows.query("stage == 'train' and status == 'ok'")
    assert set(epochs.index) == set(training["run_id"])
    assert all(each == [1, 2, 3, 4] for each in epochs)
    assert results.curves["test_accuracy"].dropna().between(0, 1).all()
    assert set(results.telemetry["run_id"]) <= set(results.rows["run_id"])
    assert (results.telemetry["host_memory_mb"] > 0).all()


def test_every_plot_has_a_figure(results: Results) -> None:
    plot = results.plot
    named = {
        name for name in dir(plot) if not name.startswith("_") and name not in ("names", "data")
    }
    for name in sorted(named):
        png = getattr(plot, name)()._repr_png_()
        assert Image.open(io.BytesIO(png)).width > 300
    for name in plot.names:
        assert plot(name).axes
    assert plot.speedup("preprocess").axes[0].get_ylabel().startswith("speedup")
    assert plot.speedup("preprocess").axes[0].get_xlabel().startswith("workers")
    assert plot("training_speedup", size=(4, 3)).get_size_inches() == pytest.approx((4, 3))


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda r: r.plot("trainin_speedup"), "did you mean 'training_speedup'?"),
        (lambda r: r.plot.speedup("eda"), "nothing measured in table 'eda'"),
        (lambda r: r.plot("images_per_joule"), "no run measured the energy of its GPUs"),
        (lambda r: r.table("law"), "did you mean 'laws'?"),
        (lambda r: weather_hpc.load(), "name a folder of results"),
        (lambda r: weather_hpc.load("no/such"), "no/such: "),
        (lambda r: weather_hpc.load(EXAMPLE, tolerance="a"), "tolerance"),
    ],
)
def test_errors_say_what_would_be_right(ask, line: str, results: Results) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError) as error:
        ask(results)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_what_was_not_measured_is_an_empty_table(results: Results) -> None:
    for name, of in BY_TABLE.items():
        table = getattr(results, name)
        assert of.workers_column in table.columns
        assert table.empty == (name in ("eda", "array"))


def test_the_verdict_and_the_sentences_are_those_of_the_report(
    results: Results, written: Path
) -> None:
    page = (written / "report.md").read_text()
    assert results.verdict is not None
    assert results.verdict.trust in Trust
    for text in (results.verdict.text, *results.headlines):
        assert text in repr(results)
        assert text in page


def test_a_notebook_shows_text_of_others_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "<b>study<b>"
    folder.mkdir()
    loaded = weather_hpc.load(_log(folder, "<script>alert(1)<!--"), pattern=PATTERN)
    shown = loaded._repr_html_()
    assert "12.0" in shown
    assert "<script>" in loaded.rows["run_id"][0]
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "<script" not in loaded.plot.time()._repr_png_().decode("latin-1")


def test_a_table_prints_its_seven_main_columns(results: Results) -> None:
    table = results.training
    assert repr(table).split("\n")[0].split() == list(table.columns[:7])
    assert f"[{len(table.columns) - 7} more columns" in repr(table)
    assert "more columns" in table._repr_html_()
    assert type(table[["time_s", "speedup"]]) is pd.DataFrame
    assert "time_s_low" in table.query("world_size == 2").columns


def test_importing_the_package_imports_no_pandas_and_its_absence_is_told() -> None:
    code = (
        "import sys, weather_hpc; assert 'pandas' not in sys.modules; "
        "assert 'load' in dir(weather_hpc); sys.modules['pandas'] = None; weather_hpc.load"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: weather_hpc.load needs pandas: pip install pandas"
    )


def test_a_study_of_weak_scaling_alone_is_plotted(tmp_path: Path) -> None:
    specs = [preprocess_spec("multiprocessing", n, scaling="weak") for n in (1, 2)]
    leave_all(tmp_path, [measured(spec, 10.0) for spec in specs])
    plot = weather_hpc.load(tmp_path).plot
    assert len(plot.speedup().axes) == 1
    with pytest.raises(UserError):
        plot.speedup(weak=False)


def test_errors_of_what_is_no_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("run_id\n")
    with pytest.raises(UserError, match="holds what was collected, not the runs"):
        weather_hpc.load(tmp_path)
    with pytest.raises(UserError, match="give several as load"):
        weather_hpc.load([tmp_path, tmp_path])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="these runs have data for none"):
        Figures([], [])("sweep")
