"""What is released has one version and one date, wherever they are written."""

import re
from pathlib import Path

import yaml

from weather_hpc import __version__

ROOT = Path(__file__).parents[1]


def test_changelog_and_citation_name_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version, date = re.findall(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)[0]
    assert version == citation["version"] == __version__
    assert date == str(citation["date-released"])
