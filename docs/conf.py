"""Sphinx configuration. Verbs, YAML keys and record fields are documented from the code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generate import write_reference
from sphinx.application import Sphinx

from weather_hpc import __version__

project = "weather_hpc"
author = "The weather_hpc maintainers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"weather_hpc {release}"


def setup(app: Sphinx) -> None:
    """Make the generated pages before Sphinx looks for them."""
    app.connect("config-inited", lambda app, config: write_reference(Path(app.srcdir)))
