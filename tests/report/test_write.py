"""Markdown, LaTeX and JSON have the content of the page; all stay small with many runs."""

import json
import re
from pathlib import Path

import pytest

from tests.report.many_rows import many_findings, many_rows
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.table import Table
from weather_hpc.files import write_text
from weather_hpc.report.collected import Collected
from weather_hpc.report.layout import DOCUMENT_ROWS
from weather_hpc.report.table_view import MOST_ROWS
from weather_hpc.report.write import remove_old_grids, write_report
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.row import Code, Finding, Severity
from weather_hpc.text import latex

EVIL = "a|b_c & 50% <b>$x$</b> #{~^\\}\n汉 -- \"'"

ADVICE = Table("advice", "What to run", "Goals.", ["goal", "time_s"], [{"goal": EVIL, "time_s": 2}])
LAWS = Table(
    "laws", "Laws", "Fits.", ["fit", "share", "share_low", "share_high", "refused"],
    [{"fit": "Amdahl", "share": 0.1, "share_low": 0.05, "share_high": 0.2, "refused": False},
     {"fit": "USL", "share": float("nan"), "share_low": None, "share_high": None, "refused": True}],
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    to = StudyPaths(tmp_path_factory.mktemp("results") / "demo")
    rows = many_rows(64, 4)
    findings = [Finding("a_run", Severity.ERROR, Code.NAN_LOSS, EVIL)]
    write_report(to, Collected(compare(rows), findings, [LAWS, ADVICE], [f"Mind {EVIL}"]))
    return to


def test_advice_comes_before_the_tables_and_the_rest_after(written: StudyPaths) -> None:
    names = re.findall(r'<h[23] id="(\w+)"', written.report.read_text())
    assert names.index("advice") < names.index("tables") < names.index("analysis")
    for path in (written.report_markdown, written.report_latex):
        text = path.read_text()
        places = [
            text.index(word) for word in ("What to run", "Tables", "Laws", "Method and provenance")
        ]
        assert places == sorted(places)


def test_json_holds_all_with_nothing_rounded_away(written: StudyPaths) -> None:
    report = json.loads(written.report_json.read_text())
    sections = {section["name"]: section for section in report["sections"]}
    assert len(sections["tables"]["tables"][0]["rows"]) == 64
    assert sections["tables"]["parts"][0]["tables"][0]["rows"][1]["share"] is None
    assert sections["advice"]["tables"][0]["rows"][0]["goal"] == EVIL
    plots = [plot for part in sections["scaling"]["parts"] for plot in part["plots"]]
    files = [plot["file"] for plot in plots if plot["file"]]
    assert "plots/training_speedup.svg" in files
    assert all((written.root / file).exists() for file in files)
    assert report["findings"][0]["message"] == EVIL
    assert len(report["rejects"]) == 10


def test_markdown_keeps_its_form(written: StudyPaths) -> None:
    text = written.report_markdown.read_text()
    assert "![" in text
    assert "](plots/training_time.png)" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        counts = {line.replace(r"\|", "").count("|") for line in block.splitlines()}
        assert len(counts) == 1
    assert not re.search(r"(?<!\\)<b", text)


def test_latex_is_balanced_and_ascii_where_fonts_lack_a_sign(written: StudyPaths) -> None:
    text = written.report_latex.read_text()
    assert text.startswith(r"\documentclass")
    assert text.endswith("\\end{document}\n")
    bare = re.sub(r"\\[{}\\%$#&_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "汉" not in text
    text.encode("latin-1")


def test_latex_hides_no_sign() -> None:
    assert latex("a -- b --- c") == "a -{}- b -{}-{}- c"
    assert latex("é × 汉") == r"é $\times$ \textbackslash{}u6c49"
    assert latex("two\nlines") == "two lines"


@pytest.mark.parametrize(("configurations", "repeats"), [(500, 20), (3000, 1)])
def test_very_many_runs_stay_small(tmp_path: Path, configurations: int, repeats: int) -> None:
    rows = many_rows(configurations, repeats)
    to = StudyPaths(tmp_path)
    write_report(to, Collected(compare(rows), many_findings(rows)))
    assert to.report.stat().st_size < 3e6
    page = to.report.read_text()
    assert page.count("<tr>") < 3 * MOST_ROWS + 150
    document = to.report_markdown.read_text()
    assert f"The first {DOCUMENT_ROWS} of {configurations} rows; all are in tables/" in document
    report = json.loads(to.report_json.read_text())
    assert len(report["findings"]) == len(many_findings(rows))
    assert len(report["rejects"]) == sum(row.is_rejected for row in rows)


def test_grids_of_an_earlier_collection_are_removed(tmp_path: Path) -> None:
    names = ("grid_ddp_cuda", "grid_dp_cuda", "published_grid_dp_cuda", "training")
    for name in names:
        write_text(tmp_path / f"{name}.csv", "old\n")
        write_text(tmp_path / f"{name}.md", "old\n")
    remove_old_grids(tmp_path, {"grid_ddp_cuda"})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{name}.{form}" for name in (names[0], names[3]) for form in ("csv", "md")}
