"""Sphinx configuration. Verbs, YAML keys, record fields and the API are documented from the code;
the tutorial's commands and the notebook run while the documentation is built."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from docutils import nodes
from generate import write_gallery, write_reference
from sphinx.application import Sphinx

from weather_hpc import __version__

project = "weather_hpc"
author = "The weather_hpc maintainers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinxcontrib.programoutput",
]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"weather_hpc {release}"

# the notebook: an error in a cell is one of the build
nb_execution_mode = "force"
nb_execution_raise_on_error = True

# commands are copied without prompt and output
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

programoutput_prompt_template = "$ {command}\n{output}"
TUTORIAL = Path(__file__).parent / "_build" / "tutorial"
"""Where the tutorial's commands run."""

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# of libraries whose documentation is not at hand, and of our own insides
nitpick_ignore_regex = [
    ("py:.*", r"(pd|pandas|matplotlib|pathlib|collections|Figure|weather_hpc)\b.*")
]


def setup(app: Sphinx) -> None:
    """Make the generated pages before Sphinx looks for them."""
    app.connect("config-inited", lambda app, config: _prepare(Path(app.srcdir)))
    # after programoutput has put the outputs there
    app.connect("doctree-read", _shorten_paths, priority=900)


def _prepare(source: Path) -> None:
    # programs are those of the environment that Sphinx runs in, their output without colours
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["COLUMNS"] = "96"
    shutil.rmtree(TUTORIAL, ignore_errors=True)
    TUTORIAL.mkdir(parents=True)
    shutil.copy(source / "first.yaml", TUTORIAL)
    write_reference(source)
    write_gallery(source)


def _shorten_paths(app: Sphinx, doctree: nodes.document) -> None:
    """Where the documentation was built is nobody's business."""
    for block in list(doctree.findall(nodes.literal_block)):
        text = block.astext().replace(str(TUTORIAL), "/home/you")
        if text != block.astext():
            block.replace_self(nodes.literal_block(text, text, language="console"))
