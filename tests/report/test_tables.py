"""The four formats: CSV and JSON exact, missing values empty, all of them escaped."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.table import PREPROCESS_COLUMNS, TRAINING_COLUMNS, ScalingTable, Table
from weather_hpc.report.collected import Collected
from weather_hpc.report.heads import head
from weather_hpc.report.layout import constants
from weather_hpc.report.section import ReportSection
from weather_hpc.report.tables_section import tables_section
from weather_hpc.report.write import write_table
from weather_hpc.text import brief, latex, markdown, significant

HOSTILE = "a|b_c & 50% <b>$x$</b> #{~^\\}"


def table_of(*rows: dict[str, Any]) -> ScalingTable:
    blank = dict.fromkeys(PREPROCESS_COLUMNS)
    return ScalingTable(
        "preprocess", "Preprocessing", "What it means.", PREPROCESS_COLUMNS,
        [blank | row for row in rows], "workers", ["backend"],
    )  # fmt: skip


def test_what_all_rows_share_is_named_once() -> None:
    row = dict.fromkeys(TRAINING_COLUMNS) | {"batch_mode": "per-device", "model": "paper_cnn"}
    table = ScalingTable(
        "training", "Training", "", TRAINING_COLUMNS, [row], "world_size", ["strategy"]
    )
    assert sorted(constants(table).split("; ")) == ["batch_mode: per-device", "model: paper_cnn"]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rows = [
        {"backend": "sequential", "workers": 1, "runs": 3, "time_s": 1 / 3, "speedup": 1.0},
        {"backend": "dask", "workers": 2, "runs": 0, "note": HOSTILE},
    ]
    write_table(tmp_path, table_of(*rows))
    return tmp_path


def test_csv_and_json_hold_the_same(written: Path) -> None:
    with (written / "preprocess.csv").open(newline="") as file:
        as_csv = list(csv.DictReader(file))
    as_json = json.loads((written / "preprocess.json").read_text())
    assert list(as_csv[0]) == list(as_json[0]) == PREPROCESS_COLUMNS
    assert as_csv[0]["time_s"] == "0.333333"
    assert as_json[0]["time_s"] == 0.333333
    assert (as_csv[1]["time_s"], as_json[1]["time_s"]) == ("", None)
    assert (as_csv[1]["runs"], as_json[1]["runs"]) == ("0", 0)
    assert as_csv[1]["note"] == as_json[1]["note"] == HOSTILE


def test_markdown_rows_have_as_many_cells_as_the_head(written: Path) -> None:
    lines = [
        line
        for line in (written / "preprocess.md").read_text().splitlines()
        if line.startswith("|")
    ]
    assert len(lines) == 4
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    assert "<b>" not in "".join(lines).replace(r"\<b\>", "")


def test_latex_rows_have_as_many_cells_as_the_head(written: Path) -> None:
    text = (written / "preprocess.tex").read_text()
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1
    (form,) = [line for line in text.splitlines() if line.startswith(r"\begin{tabular}")]
    assert len(form.removeprefix(r"\begin{tabular}{").rstrip("}")) == rows[0].count("&") + 1


def test_settings_that_never_vary_move_above_the_table(tmp_path: Path) -> None:
    rows = [{"backend": "dask", "workers": n, "study": "s", "image_size_px": 256} for n in (1, 2)]
    write_table(tmp_path, table_of(*rows))
    text = (tmp_path / "preprocess.md").read_text()
    assert "In all rows: study: s; image_size_px: 256." in text
    assert "| study |" not in text
    assert "study" in (tmp_path / "preprocess.csv").read_text().splitlines()[0].split(",")


def test_markdown_and_latex_show_an_interval_after_its_value(tmp_path: Path) -> None:
    interval = {"speedup": 1.8449, "speedup_low": 1.7, "speedup_high": 2.0}
    write_table(tmp_path, table_of({"backend": "dask", "workers": 2, **interval}))
    assert "| dask | 2 | 1.84 (1.70–2.00) |" in (tmp_path / "preprocess.md").read_text()
    tex = (tmp_path / "preprocess.tex").read_text()
    assert r"dask & 2 & 1.84 (1.70\textendash{}2.00) \\" in tex
    assert "1.8449,1.7,2.0" in (tmp_path / "preprocess.csv").read_text()


@pytest.mark.parametrize("text", ["=cmd|calc!A1", "+1", "-1+2", "@SUM(1)"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, text: str) -> None:
    write_table(tmp_path, table_of({"backend": text, "workers": -1}))
    with (tmp_path / "preprocess.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["backend"], row["workers"]) == (f"'{text}", "-1")
    assert json.loads((tmp_path / "preprocess.json").read_text())[0]["backend"] == text


def test_no_runs_is_said(tmp_path: Path) -> None:
    write_table(tmp_path, table_of())
    # LaTeX takes no tabular without columns
    assert (tmp_path / "preprocess.tex").read_text() == "Preprocessing: no runs.\\par\n"
    assert "No runs." in (tmp_path / "preprocess.md").read_text()
    assert json.loads((tmp_path / "preprocess.json").read_text()) == []
    assert len((tmp_path / "preprocess.csv").read_text().splitlines()) == 1


def test_escapes() -> None:
    assert latex("50% of a_b & {x}") == r"50\% of a\_b \& \{x\}"
    assert latex("\\") == r"\textbackslash{}"
    assert markdown("time_s |_x_| <b>") == r"time_s \|\_x\_\| \<b\>"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (12.345, "12.3"), (1234.5, "1234"), (0.012345, "0.0123"), (100.0, "100"),
     (3.0, "3.00"), (2.5e8, "2.50e+08"), (99.99, "100"), (1.5e-7, "1.50e-07")],
)  # fmt: skip
def test_three_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.0, 3, "0"), (12.345, 3, "12.3"), (3.0, 3, "3"), (999.4, 3, "999"), (999.6, 3, "1,000"),
     (1389.0, 3, "1,389"), (100.0, 2, "100"), (99.6, 2, "100"), (0.512, 2, "0.51"),
     (12345.6, 4, "12,346"), (-1500.0, 3, "-1,500")],
)  # fmt: skip
def test_numbers_in_sentences_have_no_exponent(value: float, digits: int, text: str) -> None:
    assert brief(value, digits) == text


def test_laws_that_are_all_refused_are_one_sentence() -> None:
    columns = ["series", "law", "refused"]
    rows = [{"series": str(i), "law": "USL", "refused": "too few sizes"} for i in range(3)]
    fitted = {"series": "a", "law": "Amdahl", "refused": None}

    def part(*of: dict[str, Any]) -> ReportSection:
        laws = Table("laws", "Scaling laws", "", columns, list(of))
        (found,) = tables_section(Collected(compare([]), extras=[laws])).parts
        return found

    assert part(*rows).tables == []
    assert part(*rows).sentences == [
        "Scaling laws, none fitted: too few sizes; tables/laws.csv has each."
    ]
    assert [table.rows for table in part(*rows, fitted).tables] == [[*rows, fitted]]


def test_heads_of_grids_are_words() -> None:
    assert list(map(head, ("time_s_2", "speedup_16"))) == ["time, s, at 2", "speedup, at 16"]
