"""A figure that may be drawn, and how it becomes SVG for the page and PNG for slides."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weather_hpc.report.style import INK, RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Draw = Callable[[Figure], None]

SINGLE_WIDTH, DOUBLE_WIDTH = 6.4, 14.8
"""Inches of a figure, and of one that takes the whole width of a page."""


@dataclass(frozen=True)
class Drawing:
    """One figure to draw. ``draw`` is None where there is nothing to show; ``text`` says why."""

    name: str
    """Of its files, and its id on the page."""
    title: str
    text: str
    """What it shows, for those who do not see it; or why there is none."""
    draw: "Draw | None" = None
    """Fills an empty figure of ``size`` inches."""
    size: tuple[float, float] = (SINGLE_WIDTH, 4.2)
    left_out: int = 0
    """Lines or bars that did not fit."""

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of a page."""
        return self.size[0] > SINGLE_WIDTH


def render(name: str, draw: "Draw", size: tuple[float, float]) -> tuple[str, bytes]:
    """The figure as SVG text and as PNG bytes; the same figure gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # the salt makes the same figure the same file, and its ids unlike other figures'
    with mpl.rc_context(RC | {"svg.hashsalt": name}), warnings.catch_warnings():
        # a character that no font has is drawn as a box
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        draw(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.set_layout_engine("none")  # it is laid out already
        figure.savefig(png, format="png", dpi=160, transparent=False, facecolor="white")
    return svg.getvalue().decode(), png.getvalue()


def inline_svg(svg: str, name: str, label: str) -> str:
    """The <svg> element of a drawing for a page: its ids made unique there by ``name``, its ink
    the colour of the text; ``label`` is what screen readers say."""
    from markupsafe import escape

    _, start, rest = svg.partition("<svg")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", start + rest)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
