"""The reports of a small real sweep and of the reproduced study's logs, in a real browser."""

import base64
import csv
import io
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pypdfium2
import pytest
from selenium.webdriver import Chrome

from tests.report.browsing import emulate, keep_saved, log, open_whole, saved, set_width, violations
from weather_hpc.collect.pipeline import CollectOptions, collect

pytestmark = pytest.mark.xdist_group("browser")

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
EMPTIEST = 0.5
"""Share of a printed page that may be left free below its last line, but for the last page's."""


@pytest.fixture(scope="module", params=["sweep", "logs"])
def url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_images: Path
) -> str:
    out = tmp_path_factory.mktemp("out")
    if request.param == "sweep":
        collect([EXAMPLE], out)
    else:
        logs = shared_images.parent / "paper" / "logs"
        options = CollectOptions(pattern="ddp_{gpus}gpu_bs{batch_size}.log")
        collect([logs], out, options)
    return (out / "report.html").as_uri()


@pytest.fixture
def page(browser: Chrome, url: str) -> Chrome:
    emulate(browser)
    set_width(browser, 1400)
    log(browser, "browser")
    open_whole(browser, url)
    return browser


def test_nothing_is_logged_and_no_id_is_there_twice(page: Chrome) -> None:
    assert log(page, "browser") == []
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert sorted(set(ids)) == sorted(ids)


def test_the_most_important_is_on_the_first_screen(page: Chrome) -> None:
    first = page.execute_script(
        """const box = (name) => document.querySelector(name).getBoundingClientRect();
        const cards = document.querySelectorAll(".cards > div").length;
        return [box(".verdict").bottom, cards, box(".first .plots").bottom, box(".first").bottom,
                document.querySelectorAll(".first figure svg").length]"""
    )
    verdict, cards, plots, whole, drawn = first
    assert verdict < 200
    assert cards == 4
    assert drawn == 2
    assert plots < whole <= 900


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "light"), (400, "dark")])
def test_axe_finds_no_violation(page: Chrome, width: int, scheme: str) -> None:
    set_width(page, width)
    emulate(page, scheme=scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert violations(page, *(["color-contrast"] if scheme == "dark" else [])) == []


def test_saved_tables_have_the_cells_of_their_files(page: Chrome, url: str) -> None:
    keep_saved(page)
    names = page.execute_script(
        """for (const button of document.querySelectorAll(".tools .csv")) button.click();
        return [...document.querySelectorAll(".table")].map((e) => e.dataset.table)"""
    )
    tables = Path(url2pathname(urlsplit(url).path)).parent / "tables"
    intervals = 0
    for name, text in saved(page, len(names)):
        if not (tables / name).exists():
            continue
        rows = list(csv.DictReader(io.StringIO(text)))
        with (tables / name).open(newline="") as file:
            of_file = list(csv.DictReader(file))
        assert rows
        intervals += sum(bool(v) for row in rows for c, v in row.items() if c.endswith("_low"))
        for full in of_file:  # in their order; questions without an answer are a sentence
            if rows and rows[0].items() <= full.items():
                del rows[0]
            else:
                assert full["answer"] == "", name
        assert not rows, name
    shown = page.execute_script("return document.querySelectorAll('td span').length")
    assert bool(intervals) is bool(shown)  # logs of single runs have none


def printed(page: Chrome) -> pypdfium2.PdfDocument:
    """The page on paper."""
    options = {"preferCSSPageSize": True, "printBackground": True}
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", options)["data"])
    return pypdfium2.PdfDocument(pdf)


def test_folded_sentences_and_captions_are_printed(page: Chrome) -> None:
    """But not plots as text, and on the screen they stay as they were."""
    texts = page.execute_script(
        """const texts = (name) => [...document.querySelectorAll(name)].map((e) => e.textContent);
        document.querySelector("details.caption").open = true;
        return ["details.rest li", "details.caption p", "figcaption details"].map(texts)"""
    )
    sentences, captions, plots = ([_words(text) for text in found] for found in texts)
    paper = _words(" ".join(sheet.get_textpage().get_text_range() for sheet in printed(page)))
    assert sentences
    assert [text for text in sentences + captions if text[:60] not in paper] == []
    assert [text for text in plots if text in paper] == []
    assert page.execute_script("return document.querySelectorAll('details[open]').length") == 1


def _words(text: str) -> str:
    """Without spaces and hyphens, which break lines."""
    return "".join(c for c in text if c.isalnum())


def test_no_printed_page_is_half_empty(page: Chrome) -> None:
    free = []
    for sheet in printed(page):
        dark = sheet.render(scale=0.4).to_numpy()[..., :3].min(axis=2) < 200
        written = dark.any(axis=1).nonzero()[0]
        free.append(1 - float(written[-1] + 1) / len(dark) if len(written) else 1.0)
    assert len(free) > 2
    assert max(free[:-1]) < EMPTIEST, free
