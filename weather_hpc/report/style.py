"""How figures look, decided once: colours, markers, ink."""

from typing import Any

# Okabe and Ito's palette: told apart under the common colour-vision deficiencies. Its yellow is
# left out (too pale on white) and its black is the ink.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
LINES = ["-", "--", "-.", (0, (5, 1, 1, 1, 1, 1))]
"""With colours and markers: who sees no colour tells lines apart as well."""

INK = "#1a1a19"
"""Text and axes. The page replaces it by the text colour of its light or dark form."""
FAINT = "#8a8a85"
"""Grid and ideal lines: readable on white and on black."""

MOST_LINES = 6
"""Lines in one panel: as many as there are colours."""
MOST_PANELS = 6
"""Panels in one figure."""
MOST_BARS = 20
"""Bars in one figure."""

LONGEST_LABEL = 44
"""Characters of a label in a figure; longer ones would squeeze the plot."""


def line_style(index: int, published: bool = False) -> dict[str, Any]:
    """Colour, marker and line of the series with this number; a published one is hollow."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 6,
        "markerfacecolor": "none" if published else PALETTE[index % len(PALETTE)],
        "linestyle": ":" if published else LINES[index % len(LINES)],
        "linewidth": 1.6,
        "capsize": 3,
    }


def plain(label: str, longest: int = LONGEST_LABEL) -> str:
    """``label`` short enough to leave room; nothing in it is mathematics or hides it."""
    short = label if len(label) <= longest else f"{label[: longest - 1]}…"
    return short.replace("$", r"\$").lstrip("_")


RC: Any = {
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # text stays text: searchable, and in the page's own font
    "svg.fonttype": "none",
}
