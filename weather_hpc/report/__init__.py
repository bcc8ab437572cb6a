"""Tables in four formats, plots, and one self-contained HTML page."""
