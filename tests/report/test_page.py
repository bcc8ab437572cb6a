"""The page: well-formed, self-contained, escaped, with the content of the tables."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.records_maker import leave, leave_all, measured, preprocess_spec, train_spec
from weather_hpc.collect.pipeline import collect_study
from weather_hpc.runs.record import RunRecord, Status

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Page(HTMLParser):
    """Checks nesting while reading, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0
        self.outside: list[str] = []
        self.described: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        self.scripts += tag == "script" and values.get("type") != "application/json"
        for name in ("src", "href", "xlink:href"):
            link = values.get(name, "#")
            is_relative = tag == "a" and not link.startswith("/") and ":" not in link
            if not is_relative and not link.startswith(("#", "data:")):
                self.outside.append(link)
        if tag == "svg":
            assert values["role"] == "img"
            self.described.append(values["aria-label"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def study(root: Path) -> None:
    for repeat, factor in enumerate((1.0, 1.02, 0.99)):
        for backend, workers, time_s in (("sequential", 1, 10.0), ("multiprocessing", 2, 5.5)):
            leave(root, measured(preprocess_spec(backend, workers, repeat), time_s * factor))
        for strategy, ranks in (("single", 1), ("ddp", 2)):
            for batch in (16, 32):
                spec = train_spec(strategy, ranks, repeat, task={"batch_size": batch})
                leave(root, measured(spec, factor * 20.0 / ranks / batch**0.2))
    skipped = train_spec("single", 1, task={"device": "cuda"})
    leave(root, RunRecord.of(skipped, status=Status.SKIPPED, reason="this machine has no GPU"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "demo"
    study(folder)
    collect_study(folder)
    return folder


@pytest.fixture
def page(root: Path) -> Page:
    return Page((root / "report.html").read_text())


def test_the_page_is_well_formed_and_alone(page: Page) -> None:
    assert page.open == []
    assert page.outside == []
    assert page.scripts == 1
    assert len(page.ids) == len(set(page.ids))


def test_every_plot_is_described(root: Path, page: Page) -> None:
    assert len(page.described) == len(list((root / "plots").glob("*.svg")))
    assert any("multiprocessing: 1: 10 (baseline), 2: 5.5" in text for text in page.described)
    assert all(
        text in page.text for text in ("multiprocessing: 1: 10 (baseline), 2: 5.5", "ddp on cpu")
    )


def test_the_page_has_findings_skips_and_provenance(page: Page) -> None:
    assert "Preprocessing, fastest and cheapest: multiprocessing, 2 workers" in page.text
    assert "best speedup is 1.82 (range of the repeats 1.7" in page.text
    assert "this machine has no GPU" in page.text
    for text in ("c0ffee", "node1", "A CPU", "numpy 2.0"):
        assert text in page.text


@pytest.mark.parametrize(("slowest", "doubt"), [(5.8, False), (10.5, True)])
def test_a_speedup_that_may_be_none_is_doubted(tmp_path: Path, slowest: float, doubt: bool) -> None:
    for repeat, time_s in enumerate((5.5, 5.6, slowest)):
        leave(tmp_path, measured(preprocess_spec("sequential", 1, repeat), 10.0))
        leave(tmp_path, measured(preprocess_spec("dask", 2, repeat), time_s))
    collect_study(tmp_path)
    text = Page((tmp_path / "report.html").read_text()).text
    assert ("do not show that it is faster" in text) is doubt


def test_every_plot_is_drawn_as_svg_and_png(root: Path) -> None:
    names = {path.stem for path in (root / "plots").glob("*.svg")}
    assert names >= {
        "preprocess_time", "preprocess_speedup", "preprocess_efficiency",
        "training_time", "training_speedup", "training_efficiency", "training_batch",
        "published_speedup",
    }  # fmt: skip
    for name in names:
        ElementTree.parse(root / "plots" / f"{name}.svg")  # noqa: S314
        assert (root / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_collecting_again_changes_nothing(root: Path) -> None:
    written = [p for p in root.rglob("*") if p.is_file() and "runs" not in p.parts]
    before = {path: path.read_bytes() for path in written}
    collect_study(root)
    assert {path: path.read_bytes() for path in written} == before


def test_a_plot_with_nothing_to_show_is_not_drawn_and_said(tmp_path: Path) -> None:
    leave(tmp_path, measured(preprocess_spec("dask", 2), 3.0))
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "preprocess_speedup.svg").write_text("of an earlier collection")
    summary = collect_study(tmp_path)
    drawn = {Path(plot).stem for plot in summary["plots"]}
    assert drawn == {path.stem for path in (tmp_path / "plots").glob("*.svg")}
    assert "preprocess_time" in drawn
    assert "preprocess_speedup" not in drawn
    text = Page((tmp_path / "report.html").read_text()).text
    assert re.search("Not shown, because .*Preprocessing: speedup", text)


@pytest.mark.parametrize("trained", [False, True])
def test_what_cannot_be_of_these_runs_is_not_told_as_missing(tmp_path: Path, trained: bool) -> None:
    """Runs of one configuration on CPUs."""
    for repeat in range(3):
        spec = train_spec if trained else preprocess_spec
        method = "single" if trained else "sequential"
        task = {"epochs": 1} if trained else {}
        leave(tmp_path, measured(spec(method, 1, repeat, task=task), 3.0))
    collect_study(tmp_path)
    left_out = json.loads((tmp_path / "report.json").read_text())["left_out"]
    assert "Data" in left_out  # no run left a summary of its images
    never = (
        "joule", "peedup", "efficiency", "batch size", "epoch", "node-hours", "ublished",
        "rejected", "preprocessing" if trained else "raining", "" if trained else "Learning",
    )  # fmt: skip
    assert [title for title in left_out for word in never if word and word in title] == []


def test_what_a_record_says_is_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>$x$_\"'&\u6f22"
    spec = preprocess_spec("sequential", 1, study=evil, data=evil)
    bad = {"host": evil, "cpu_model": evil, "commit": evil, "packages": {evil: evil}}
    leave(tmp_path, measured(spec, 3.0, provenance=bad))
    trained = train_spec("single", 1, study=evil, task={"model": evil})
    other = train_spec("single", 1, study="_hidden", task={"model": "$\\frac$"})
    leave(tmp_path, measured(trained, 3.0, actual={"world_size": 9}))
    leave(tmp_path, measured(other, 3.0))
    failed = preprocess_spec("dask", 2, study=evil)
    leave(tmp_path, RunRecord.of(failed, status=Status.FAILED, reason=evil))
    collect_study(tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    assert page.scripts == 1
    assert page.open == []
    assert evil in page.text


def test_runs_of_which_none_was_measured(tmp_path: Path) -> None:
    spec = train_spec("ddp", 2)
    leave_all(tmp_path, [RunRecord.of(spec, status=Status.FAILED, reason="lost")])
    summary = collect_study(tmp_path)
    assert summary["plots"] == []
    assert "Training: no run was measured." in Page((tmp_path / "report.html").read_text()).text
