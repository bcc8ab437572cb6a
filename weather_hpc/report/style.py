"""How figures look, decided once: colours, markers, ink."""

from typing import Any

# Okabe and Ito's palette: told apart under the common colour-vision deficiencies. Its yellow is
# left out (too pale on white) and its black is the ink.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
"""One more than colours, so that the pairs repeat only after 42 series."""

INK = "#1a1a19"
"""Text and axes. The page replaces it by the text colour of its light or dark form."""
FAINT = "#8a8a85"
"""Grid and ideal lines: readable on white and on black."""

MOST_SERIES = 12
"""More lines than this cannot be told apart in one plot."""

LONGEST_LABEL = 40
"""Characters of a series' name in a legend; longer names would squeeze the plot."""


def series_style(index: int) -> dict[str, Any]:
    """Colour and marker of the series with this number."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 6,
        "linewidth": 1.6,
        "capsize": 3,
    }


RC: Any = {
    "figure.figsize": (7.2, 4.2),
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
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # text stays text: searchable, and in the page's own font
    "svg.fonttype": "none",
}
