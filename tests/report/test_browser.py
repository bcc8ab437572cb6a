"""The page in a real browser: no errors, no requests, usable by mouse and keyboard, printable."""

import base64
import dataclasses
import io
import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.report.browsing import (
    click,
    emulate,
    keep_saved,
    log,
    open_whole,
    requested,
    saved,
    set_width,
    violations,
)
from tests.report.many_rows import many_findings, many_rows
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.table import Table
from weather_hpc.files import write_json
from weather_hpc.report.collected import Collected
from weather_hpc.report.predictions import COLUMNS, NewImages, predictions_table
from weather_hpc.report.write import write_report
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.predictions import PredictionSummary
from weather_hpc.runs.row import Row

pytestmark = pytest.mark.xdist_group("browser")

COMMAND = "python -m weather_hpc.train --batch-size 16"
LAST_WORDS = "RuntimeError: rank 3 is lost"
EVIL = "<img src=x onerror=\"document.title='attacked'\"><script>document.title='attacked'</script>"
FORMULA = "=HYPERLINK(1)"
A4_WIDTH_PX = 1032  # 297 mm less the margins of 12 mm, at 96 dpi


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = many_rows(64, 4)
    rows[9] = dataclasses.replace(rows[9], host=EVIL, reason=EVIL)
    rows += [dataclasses.replace(r, table=None, time_s=None, reason=EVIL) for r in rows[:4]]
    rows[-1] = dataclasses.replace(rows[-1], configuration=f"alone {EVIL}", strategy=EVIL)
    to = StudyPaths(tmp_path_factory.mktemp("results") / "demo")
    for number in (0, 7):  # one that ended well, one that failed
        rows[number] = with_files(rows[number], to.run(rows[number].run_id))
    long = Table("long", "A long one", "", ["number"], [{"number": n} for n in range(300)])
    values = (None, 10, 9.25, 1e-7, -3, 0.5, None, 2500.0)
    mixed = Table("numbers", "Any numbers", "", ["value"], [{"value": v} for v in values])
    words = Table("words", "Text", "", ["word"], [{"word": FORMULA}, {"word": "-0.5"}])
    extras = [long, mixed, words]
    write_report(to, Collected(compare(rows), many_findings(rows), extras, [EVIL]))
    return to.report.as_uri()


def with_files(row: Row, run: RunPaths) -> Row:
    """``row`` with a run folder of its own."""
    run.root.mkdir(parents=True)
    write_json(run.record, {"provenance": {"command": COMMAND.split()}})
    run.stderr.write_text(f"Traceback\n{EVIL}\n{LAST_WORDS}\n")
    return dataclasses.replace(row, source=str(run.root))


@pytest.fixture
def page(browser: Chrome, url: str) -> Chrome:
    emulate(browser)
    set_width(browser, 1280)
    for kind in ("browser", "performance"):
        log(browser, kind)  # forgets what was before
    open_whole(browser, url)
    return browser


def column(page: Chrome, table: str, name: str) -> tuple[WebElement, list[str]]:
    """The head of a column of a table, and the column's texts from top to bottom."""
    script = """
        const table = document.getElementById(`rows-${arguments[0]}`);
        const heads = [...table.tHead.rows[0].cells];
        const index = heads.findIndex((head) => head.dataset.column === arguments[1]);
        return [heads[index], [...table.tBodies[0].rows].map((r) => r.cells[index].textContent)];
    """
    head, texts = page.execute_script(script, table, name)
    return head, texts


def test_the_page_logs_no_error_and_requests_nothing_else(page: Chrome, url: str) -> None:
    assert log(page, "browser") == []
    assert requested(page) - {"data:,"} == {url}


def test_numbers_sort_as_numbers_with_empty_cells_last(page: Chrome) -> None:
    for direction, order in (("ascending", 1), ("descending", -1)):
        head, _ = column(page, "numbers", "value")
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == direction
        texts = ["-3", "1.00e-07", "0.500", "9.25", "10", "2500"][::order]
        assert column(page, "numbers", "value")[1] == [*texts, "", ""]


def test_the_keyboard_sorts_words(page: Chrome) -> None:
    button = column(page, "training", "strategy")[0].find_element(By.TAG_NAME, "button")
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    head, texts = column(page, "training", "strategy")
    assert head.get_attribute("aria-sort") == "ascending"
    strategies = [text for text in texts if text != EVIL]
    assert strategies == sorted(strategies)
    assert len(set(strategies)) == 4
    button.send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") == "descending"


def test_the_filter_leaves_the_rows_that_hold_every_word(page: Chrome) -> None:
    box = page.find_element(By.CSS_SELECTOR, "[data-table=training] input")
    assert box.accessible_name == "Filter"
    rows = page.find_elements(By.CSS_SELECTOR, "#rows-training tbody tr")
    box.send_keys("DDP 512")
    shown = [row.get_attribute("textContent") or "" for row in rows if row.is_displayed()]
    assert 0 < len(shown) < len(rows)
    assert all("ddp" in text and "512" in text for text in shown)
    said = page.find_element(By.CSS_SELECTOR, "[data-table=training] output").text
    assert said == f"{len(shown)} of {len(rows)} rows"


def test_of_a_long_table_the_first_rows_are_shown_until_asked(page: Chrome) -> None:
    table = page.find_element(By.ID, "rows-long")
    part = table.find_element(By.XPATH, "ancestor::*[@class='table']")
    visible = "return [...arguments[0].rows].filter((row) => row.offsetHeight > 0).length - 1"
    assert page.execute_script(visible, table) == 25
    table.find_element(By.TAG_NAME, "button").click()
    table.find_element(By.TAG_NAME, "button").click()
    assert table.find_element(By.TAG_NAME, "td").text == "299"
    assert page.execute_script(visible, table) == 25
    more = part.find_element(By.CLASS_NAME, "more")
    assert more.text == "Show all 300 rows"
    more.click()
    assert page.execute_script(visible, table) == 300
    assert not more.is_displayed()


def test_every_figure_has_a_name(page: Chrome) -> None:
    drawings = page.find_elements(By.CSS_SELECTOR, "figure svg")
    assert len(drawings) >= 5
    for drawing in drawings:
        assert drawing.aria_role in ("img", "image")
        assert re.search(r"\d", drawing.accessible_name)


def test_headings_are_in_order_and_the_contents_lead_to_them(page: Chrome) -> None:
    headings = "return [...document.querySelectorAll('h1,h2,h3,h4,h5')].map((h) => h.tagName)"
    levels = [int(name[1]) for name in page.execute_script(headings)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    links = page.find_elements(By.CSS_SELECTOR, "nav a")
    assert len(links) == levels.count(2)
    for link in links:
        target = (link.get_attribute("href") or "").partition("#")[2]
        assert page.find_element(By.ID, target).tag_name == "h2"


def test_seven_columns_are_shown_and_the_others_on_request(page: Chrome) -> None:
    part = page.find_element(By.CSS_SELECTOR, "[data-table=training]")
    heads = part.find_elements(By.CSS_SELECTOR, "thead th")
    shown = [head.text for head in heads if head.is_displayed()]
    assert len(shown) == 7
    assert "ranks" in shown[2]
    assert any(text.startswith("time, s") for text in shown)
    button = part.find_element(By.CLASS_NAME, "columns")
    assert button.text == f"{len(heads) - 7} more columns"
    button.click()
    assert all(head.is_displayed() for head in heads)
    button.click()
    assert sum(head.is_displayed() for head in heads) == 7


def test_a_row_opens_its_runs_their_command_and_what_they_last_printed(page: Chrome) -> None:
    part = page.find_element(By.CSS_SELECTOR, "[data-table=training]")
    button = part.find_elements(By.CLASS_NAME, "open")[0]
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    opened = part.find_element(By.CLASS_NAME, "opened")
    assert button.get_attribute("aria-expanded") == "true"
    assert len(opened.find_elements(By.CSS_SELECTOR, "tbody tr")) == 8  # 4 of them rejected
    assert COMMAND in opened.text
    button.send_keys(Keys.ENTER)
    assert part.find_elements(By.CLASS_NAME, "opened") == []
    rejects = page.find_element(By.CSS_SELECTOR, "[data-table=rejects]")
    click(rejects.find_element(By.CSS_SELECTOR, "tbody tr"))
    assert LAST_WORDS in rejects.find_element(By.CLASS_NAME, "opened").text
    click(rejects.find_element(By.CSS_SELECTOR, "thead button"))
    assert rejects.find_elements(By.CLASS_NAME, "opened") == []
    assert page.title == "Scaling report: many"


def test_plots_and_tables_are_saved_from_the_page_alone(page: Chrome) -> None:
    keep_saved(page)
    for table in ("numbers", "words"):
        click(page.find_element(By.CSS_SELECTOR, f"[data-table={table}] .csv"))
    plot = page.find_element(By.CSS_SELECTOR, "figure[id^=plot-]")
    click(plot.find_element(By.CLASS_NAME, "svg"))
    (name, text), (_, words), (plot_name, svg) = saved(page, 3)
    assert (name, text.splitlines()[:4]) == ("numbers.csv", ["value", "", "10", "9.25"])
    assert "-3" in text.splitlines()
    assert words.splitlines() == ["word", f"'{FORMULA}", "-0.5"]
    assert plot_name == f"{plot.get_attribute('id').removeprefix('plot-')}.svg"  # type: ignore[union-attr]
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    to = StudyPaths(tmp_path_factory.mktemp("results") / "small")
    rows = many_rows(16, 3)
    rows[7] = with_files(rows[7], to.run(rows[7].run_id))
    write_report(to, Collected(compare(rows), many_findings(rows)))
    return to.report.as_uri()


@pytest.mark.parametrize(
    ("width", "scheme", "rules"),
    [
        (1280, "light", []),
        (400, "light", []),
        (1280, "dark", ["color-contrast"]),
        (400, "dark", ["color-contrast"]),
    ],
)
def test_axe_finds_no_violation(
    page: Chrome, small: str, width: int, scheme: str, rules: list[str]
) -> None:
    set_width(page, width)
    emulate(page, scheme=scheme)
    open_whole(page, small)
    page.find_elements(By.CLASS_NAME, "open")[0].click()
    assert violations(page, *rules) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_screen(page: Chrome, width: int) -> None:
    set_width(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_it_prints_whole_on_a4(page: Chrome) -> None:
    set_width(page, A4_WIDTH_PX)
    emulate(page, "print")
    assert page.execute_script("return document.documentElement.scrollWidth") <= A4_WIDTH_PX
    clipped = """return [...document.querySelectorAll(".scroll")].filter(
        (box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight).length"""
    assert page.execute_script(clipped) == 0
    unfolded = "return [...document.querySelectorAll('tr')].every((row) => row.offsetHeight > 0)"
    assert page.execute_script(unfolded)
    options = {"preferCSSPageSize": True, "printBackground": True}
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", options)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page: Chrome, scheme: str) -> None:
    emulate(page, scheme=scheme)
    colours = """const style = getComputedStyle(arguments[0]);
        return [style.color, getComputedStyle(document.body).backgroundColor]"""
    for selector in ("body", ".soft", "td.warning", "a", "figure svg text"):
        element = page.find_element(By.CSS_SELECTOR, selector)
        ink, paper = (luminance(colour) for colour in page.execute_script(colours, element))
        contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert contrast >= 4.5, selector
        assert (ink > paper) is (scheme == "dark"), selector


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)`` after WCAG 2."""
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_a_record_says_does_not_run(page: Chrome) -> None:
    assert EVIL in page.find_element(By.ID, "rows-rejects").text
    assert page.title == "Scaling report: many"
    assert page.find_elements(By.CSS_SELECTOR, "main img, main script") == []


def test_a_sheet_of_predictions_is_shown_and_nothing_is_loaded(
    page: Chrome, tmp_path: Path
) -> None:
    sheet = io.BytesIO()
    Image.new("RGB", (1236, 1900), "teal").save(sheet, "PNG")
    summary = PredictionSummary(
        images=1, classes={EVIL: 1}, skipped=[], predictions="p", sheets=["s"], checkpoint=EVIL,
        known_classes=[EVIL], low_confidence=0.5, low_confidence_images=0,
    )  # fmt: skip
    row = dict.fromkeys(COLUMNS) | {"file": EVIL, "predicted": EVIL, "probability": 0.9}
    new = NewImages("predict-1", "runs/predict-1", EVIL, summary, [row], sheet.getvalue())
    to, rows = StudyPaths(tmp_path), many_rows(2, 1)
    write_report(to, Collected(compare(rows), [], [predictions_table([new])]))
    log(page, "performance")
    open_whole(page, to.report.as_uri())
    image = page.find_element(By.CSS_SELECTOR, "#predictions ~ figure img")
    natural = page.execute_script("return arguments[0].naturalWidth", image)
    assert (natural, image.is_displayed()) == (1236, True)
    assert "three most probable classes" in image.accessible_name
    assert EVIL in page.find_element(By.ID, "rows-predictions").text
    assert page.title == "Scaling report: many"
    assert log(page, "browser") == []
    asked = {url.partition(",")[0] for url in requested(page)}
    assert asked <= {to.report.as_uri(), "data:", "data:image/png;base64"}
    for width in (1280, 400):
        set_width(page, width)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_pages_policy_stops_what_is_smuggled_in(page: Chrome) -> None:
    page.execute_script("document.body.insertAdjacentHTML('beforeend', arguments[0])", EVIL)
    page.execute_async_script("setTimeout(arguments[0], 100)")
    assert page.title == "Scaling report: many"
