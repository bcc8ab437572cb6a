"""What the browser tests do with a page."""

import json
from importlib.resources import files
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_RUN_AXE = """
// left out by hand: axe would compare each element with each one that it is told to exclude
const plots = [...document.querySelectorAll("svg")].map((svg) => [svg, [...svg.childNodes]]);
for (const [svg] of plots) svg.replaceChildren();
axe.run(document, arguments[0]).then((found) => {
  for (const [svg, children] of plots) svg.replaceChildren(...children);
  arguments[1](found);
});
"""

_AXE = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")


def open_whole(browser: Chrome, url: str) -> None:
    """Open a page and wait until all of it is there: on a busy machine get() can return sooner."""
    browser.get("about:blank")  # else the page of the test before is taken for this one
    browser.get(url)
    whole = "return document.readyState === 'complete' && location.href === arguments[0]"
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(whole, url))


def log(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Log entries since the last call."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def requested(browser: Chrome) -> set[str]:
    """The addresses asked for since the log was read last."""
    events = [json.loads(entry["message"])["message"] for entry in log(browser, "performance")]
    return {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }


def keep_saved(page: Chrome) -> None:
    """Have the files that the page saves in its variable ``saved``, name and text."""
    page.execute_script("""
        window.saved = [];
        HTMLAnchorElement.prototype.click = function () {
          keep(this.href, this.download);
        };
        const blobs = new Map(), create = URL.createObjectURL;
        URL.createObjectURL = (blob) => {
          const url = create(blob);
          blobs.set(url, blob);
          return url;
        };
        const keep = async (url, name) => saved.push([name, await blobs.get(url).text()]);
    """)


def saved(page: Chrome, count: int) -> list[list[str]]:
    """Those files, once there are ``count`` of them."""
    WebDriverWait(page, 10).until(lambda _: page.execute_script("return saved.length") == count)
    files: list[list[str]] = page.execute_script("return saved")
    return files


def set_width(browser: Chrome, width: int) -> None:
    """Make the screen ``width`` pixels wide and 900 high."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def emulate(browser: Chrome, media: str = "", scheme: str = "light") -> None:
    """Show pages as on ``media`` (empty: a screen), with a light or dark ``scheme``."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    command = "Emulation.setEmulatedMedia"
    browser.execute_cdp_cmd(command, {"media": media, "features": [feature]})


def click(element: WebElement) -> None:
    """Click in the middle of the screen, where the contents that stay at the top hide nothing."""
    element.parent.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def violations(page: Chrome, *rules: str) -> list[tuple[str, ...]]:
    """What axe-core finds wrong by ``rules``; none named: by all.

    Not inside plots, where it would judge each label alone: their colours have tests of their own.
    """
    page.execute_script(_AXE)
    page.set_script_timeout(120)
    found = page.execute_async_script(_RUN_AXE, {"runOnly": rules} if rules else {})
    assert len(found["passes"]) >= (len(rules) or 20)
    return [
        (one["id"], one["help"], one["nodes"][0]["html"][:300], one["nodes"][0]["failureSummary"])
        for one in found["violations"]
    ]
