"""How figures look, and how one becomes SVG for the page and PNG for slides."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.report.colours import FAINT, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Draw = Callable[[Figure], None]

MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
LINES = ["-", "--", "-.", (0, (5, 1, 1, 1, 1, 1))]
"""With markers, so that lines differ without colour too."""
MOST_LINES = 7
"""Lines in one panel: as many as there are markers, and colours of sizes."""
MOST_PANELS = 6
"""Panels in one figure."""
MOST_BARS = 20
"""Bars in one figure."""
LONGEST_LABEL = 44
"""Characters of a label in a figure; longer labels are cut."""
RC: Any = {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "axes.titlelocation": "left",
    # fixed: to look for a free place takes an eighth of all drawing
    "axes.titley": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    # text stays text: searchable, and in the page's own font
    "svg.fonttype": "none",
}

SINGLE_WIDTH, DOUBLE_WIDTH = 5.6, 11.2
"""Width of a figure, and of one that takes the whole width of a page, inches: so small that text
is readable where the page shows it in 480 and in 960 pixels."""


@dataclass(frozen=True)
class Drawing:
    """One figure. ``draw`` is None where there is nothing to show; ``text`` says why."""

    name: str
    """Name of its files, and its id on the page."""
    title: str
    text: str
    """Its content as text, for screen readers; or why there is none."""
    draw: "Draw | None" = None
    """Fills an empty figure of ``size`` inches."""
    size: tuple[float, float] = (SINGLE_WIDTH, 4.2)
    left_out: int = 0
    """Number of lines or bars that did not fit."""
    svg: str | None = None
    """The SVG, once it is drawn."""
    optional: bool = False
    """Whether it is no loss where there is nothing to show: these runs cannot have it."""
    data: Sequence[Mapping[str, Any]] = ()
    """The values drawn, a row each; every row may have columns of its own."""

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of a page."""
        return self.size[0] > SINGLE_WIDTH


@dataclass(frozen=True)
class PlotFiles:
    """One figure in every format; equal figures give equal bytes."""

    svg: str
    png: bytes
    pdf: bytes


def render(name: str, draw: "Draw", size: tuple[float, float]) -> PlotFiles:
    """Draw a figure of ``size`` inches; ``name`` makes its ids unique among figures."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # the salt makes equal figures equal files
    with mpl.rc_context(RC | {"svg.hashsalt": name}), warnings.catch_warnings():
        # a character that no font has is drawn as a box
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=size)
        draw(figure)
        svg, png, pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
        # not savefig, which draws everything twice in each format
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(svg, metadata={"Date": None})
        figure.set_layout_engine("none")  # already laid out
        figure.set_facecolor("white")
        canvas = FigureCanvasPdf(figure)
        canvas.print_pdf(pdf, metadata={"CreationDate": None})
        figure.set_dpi(160)
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(png)
    return PlotFiles(svg.getvalue().decode(), png.getvalue(), pdf.getvalue())


def inline_svg(svg: str, name: str, label: str) -> str:
    """The <svg> element of a drawing for a page: its ids made unique there by ``name``, its ink
    the colour of the text; ``label`` is what screen readers say."""
    from markupsafe import escape

    _, start, rest = svg.partition("<svg")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", start + rest)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace(PAPER, "var(--back, Canvas)")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def plain(label: str, longest: int = LONGEST_LABEL) -> str:
    """``label`` cut to ``longest`` characters, without what matplotlib treats as markup."""
    short = label if len(label) <= longest else f"{label[: longest - 1]}…"
    return short.replace("$", r"\$").lstrip("_")
