"""Makes the pictures in README and docs from the small sweep in results/example.

``python docs/pictures.py`` needs Chromium and its chromedriver. Each picture says which text of the
report it shows, so that tests/test_docs.py can tell when it is out of date.
"""

import hashlib
import io
import json
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

import weather_hpc
from weather_hpc.collect.pipeline import collect
from weather_hpc.report.layout import card_text

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "results" / "example"
PICTURES = ROOT / "docs" / "pictures"
SCREEN = (1400, 900)
"""Width and height of the first screen, px."""


def text_shown() -> str:
    """A checksum of the text on the report's first screen."""
    first = weather_hpc.load(EXAMPLE).report.first
    verdict = first.verdict.text if first.verdict else ""
    shown = [first.subject, verdict, *map(card_text, first.cards), *first.sentences]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def main() -> None:
    """Write every picture."""
    digest = text_shown()
    with tempfile.TemporaryDirectory() as folder, _browser(folder) as browser:
        collect([EXAMPLE], Path(folder))
        PICTURES.mkdir(exist_ok=True)
        for scheme in ("light", "dark"):
            _emulate(browser, scheme)
            browser.get((Path(folder) / "report.html").as_uri())
            _save(f"report-{scheme}", browser.get_screenshot_as_png(), digest)
        _emulate(browser, "light")
        browser.get((Path(folder) / "report.html").as_uri())
        table = browser.find_element("css selector", "[data-table=training]")
        button = table.find_element("css selector", "tbody tr:last-child button")
        browser.execute_script("arguments[0].click()", button)
        _save("row", table.screenshot_as_png, digest)


def _browser(folder: str) -> Chrome:
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for option in ("--headless", "--no-sandbox", f"--user-data-dir={folder}/browser"):
        options.add_argument(option)
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


def _emulate(browser: Chrome, scheme: str) -> None:
    width, height = SCREEN
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})


def _save(name: str, png: bytes, digest: str) -> None:
    """As a PNG of few colours, a third of the size."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    info = PngInfo()
    info.add_text("shows", digest)
    image.save(PICTURES / f"{name}.png", optimize=True, pnginfo=info)


if __name__ == "__main__":
    main()
