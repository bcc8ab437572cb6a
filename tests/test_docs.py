"""Pages agree with the code that they describe."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_layers_are_those_that_imports_are_checked_against() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    (block,) = re.findall(r"## Layers.*?```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert block.splitlines() == contract["layers"]


def test_every_folder_has_a_line() -> None:
    folders = {path.parent.name for path in (ROOT / "weather_hpc").glob("*/__init__.py")}
    table = PAGE.partition("## Folders")[2].partition("## ")[0]
    assert folders <= set(re.findall(r"`(\w+)/`", table))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w+/[\w/.]*)`", PAGE))))
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "weather_hpc" / path).exists()


def test_every_promise_is_shown_by_a_test_that_exists() -> None:
    promised = RELIABILITY.partition("## Soak")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| what |")]
    assert promises
    for row in promises:
        shown = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert shown, row
        for path, name in shown:
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{path}::{name}"


def test_pictures_show_the_report_as_it_is() -> None:
    """Where this fails: ``make pictures``."""
    shown = runpy.run_path(str(ROOT / "docs" / "pictures.py"))["text_shown"]()
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert len(pictures) == 3
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.info["shows"] == shown, picture


def test_every_picture_is_used() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    for picture in (ROOT / "docs" / "pictures").glob("*.png"):
        assert f"pictures/{picture.name}" in text
