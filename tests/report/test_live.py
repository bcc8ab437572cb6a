"""The page of a study that is running, in a real browser: it loads itself again, until it is whole
or old, and its reader keeps the place."""

import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.report.browsing import log, open_whole, set_width
from weather_hpc.analysis.table import Table
from weather_hpc.files import write_text
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.live import Live, stop
from weather_hpc.report.page import html_page
from weather_hpc.report.section import FirstScreen, Report, ReportSection

pytestmark = pytest.mark.xdist_group("browser")

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9"/></svg>'
PLACE = """
    const heads = document.querySelectorAll("#rows-runs th");
    return {
        top: scrollY,
        open: document.querySelector("figure details").open,
        filter: document.querySelector("input").value,
        rows: document.querySelectorAll("#rows-runs tbody tr:not([hidden])").length,
        sorted: [...heads].map((head) => head.getAttribute("aria-sort")),
    };
"""


def write(page: Path, rows: int, progress: str = "", until: float | None = None) -> None:
    table = Table("runs", "Runs", "", ["number", "name"],
                  [{"number": n, "name": f"run {n}"} for n in range(rows)])  # fmt: skip
    plot = Drawing("speedup", "Speedup", "None.", lambda _: None, svg=SVG)
    section = ReportSection("tables", "Tables", plots=[plot] * 3, tables=[table])
    report = Report("Live", FirstScreen("subject"), [section])
    until = time.time() + 60 if until is None else until
    live = Live(progress, time.time(), until, reload_s=0.5) if progress else None
    write_text(page, html_page(report, live))


def says(browser: Chrome, text: str) -> None:
    """Wait until the page says ``text`` of its progress."""
    script = "return document.readyState === 'complete' && document.body.innerText"
    WebDriverWait(browser, 30, poll_frequency=0.1).until(
        lambda _: text in (browser.execute_script(script) or "")
    )


def test_a_live_page_loads_itself_again_and_its_reader_keeps_the_place(
    browser: Chrome, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    set_width(browser, 1280)
    write(page, 40, "3 of 9 runs done")
    log(browser, "browser")
    open_whole(browser, page.as_uri())
    says(browser, "3 of 9 runs done")

    # while its reader types, nothing is loaded
    browser.find_element(By.CSS_SELECTOR, "input").send_keys("run 1")
    browser.execute_script("window.before = true")
    write(page, 41, "4 of 9 runs done")
    browser.execute_async_script("setTimeout(arguments[0], 1500)")
    assert browser.execute_script("return window.before")

    browser.execute_script("""
        document.activeElement.blur();
        document.querySelector("figure details").open = true;
        for (let click = 0; click < 2; click++) document.querySelector("th button").click();
        scrollTo(0, 500);
    """)
    place: dict[str, Any] = browser.execute_script(PLACE)
    assert (place["open"], place["filter"], place["rows"]) == (True, "run 1", 13)
    assert place["top"] > 100
    assert place["sorted"] == ["descending", None]
    says(browser, "4 of 9 runs done")
    assert browser.execute_script("return window.before === undefined")
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(PLACE) == place)

    # the whole report is loaded, and stays
    write(page, 42)
    WebDriverWait(browser, 30).until(lambda _: not browser.find_elements(By.ID, "live"))
    assert log(browser, "browser") == []


def test_a_page_whose_sweep_has_ended_loads_itself_no_more(browser: Chrome, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write(page, 1, "3 of 9 runs done", until=time.time() - 1)
    open_whole(browser, page.as_uri())
    says(browser, "when it said: 3 of 9 runs done. The sweep has probably been killed")

    write(page, 1, "5 of 9 runs done")
    stop(page, "interrupted (SIGINT); <sweep> again")
    open_whole(browser, page.as_uri())
    says(browser, "interrupted (SIGINT); <sweep> again.")
    browser.execute_script("window.before = true")
    browser.execute_async_script("setTimeout(arguments[0], 1000)")
    assert browser.execute_script("return window.before")
    whole = page.read_text()
    write(page, 1)
    stop(page, "interrupted")
    assert "interrupted" not in page.read_text()
    assert "5 of 9" not in whole
