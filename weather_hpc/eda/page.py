"""eda.html: all results on one page without external files."""

import base64
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from weather_hpc.eda import near_duplicates
from weather_hpc.eda.sheets import Sheet
from weather_hpc.files import write_text
from weather_hpc.preprocess.profiles import CONVERTED, METHODS
from weather_hpc.report.drawing import Drawing, inline_svg
from weather_hpc.study.tasks import Color
from weather_hpc.text import significant

SHOWN_ROWS = 200
"""Rows of the page's tables of pairs and of profiles; the files have all."""


def write_page(
    path: Path,
    name: str,
    result: dict[str, Any],
    charts: Sequence[tuple[Drawing, str]],
    sheets: Sequence[Sheet],
) -> None:
    """Write the page to ``path``. Names of files and classes appear as text, never as markup.

    The page's content security policy allows no script and loads nothing.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (files("weather_hpc.report") / "templates" / "report.css").read_text("utf-8")
    template = files("weather_hpc.eda") / "templates" / "eda.html.j2"
    page = environment.from_string(template.read_text("utf-8")).render(
        name=name,
        findings=findings(result),
        shown_rows=SHOWN_ROWS,
        most_pairs=near_duplicates.MOST_PAIRS,
        significant=significant,
        # style and drawings are the package's own; matplotlib has escaped every label
        style=Markup(style),  # noqa: S704
        charts={
            drawing.name: (drawing, Markup(inline_svg(svg, drawing.name, drawing.text)))  # noqa: S704
            for drawing, svg in charts
        },
        sheets={sheet.name: (sheet, _data_uri(sheet)) for sheet in sheets},
        **result,
    )
    write_text(path, page)


def findings(result: dict[str, Any]) -> list[str]:
    """Findings to consider before training, most important first."""
    return [
        sentence
        for find in (_leak, _mislabelled, _imbalance, _left_out, _unusual_files, _color_profiles)
        for sentence in find(result)
    ]


def _leak(result: dict[str, Any]) -> list[str]:
    pairs = result["near_duplicates"]
    seen, held_out = pairs["held_out_images_seen"], pairs["held_out_images"]
    if not seen:
        return ["No held-out image has a near-duplicate in the training split."]
    share = f"{seen} of {held_out} held-out images ({seen / held_out:.1%})"
    return [f"{share} have a near-duplicate in the training split: the test accuracy is too high."]


def _mislabelled(result: dict[str, Any]) -> list[str]:
    across = result["near_duplicates"]["across_classes"]
    return [f"Pairs of near-duplicates in different classes: {across}."] if across else []


def _imbalance(result: dict[str, Any]) -> list[str]:
    counts = sorted((row["images"], row["class"]) for row in result["classes"])
    (fewest, rare), (most, common) = counts[0], counts[-1]
    if not fewest:
        return [f"{rare} has no image here."]
    if most < 1.5 * fewest:
        return []
    ratio = f"{common} has {most / fewest:.1f} times the images of {rare} ({most} and {fewest})"
    return [f"{ratio}: accuracy alone hides results of small classes."]


def _left_out(result: dict[str, Any]) -> list[str]:
    left_out = sum(result["quarantine"].values())
    return [f"Files that could not be used: {left_out}."] if left_out else []


def _unusual_files(result: dict[str, Any]) -> list[str]:
    census = result["census"]
    counts = {
        "Files whose suffix does not match their format": census["misnamed"],
        "Files rotated by their EXIF data": census["turned_by_exif"],
        "Animated files, of which the first frame is used": census["animated"],
    }
    return [f"{what}: {files}." for what, files in counts.items() if files]


def _color_profiles(result: dict[str, Any]) -> list[str]:
    census, found = result["census"], []
    files: Counter[str] = Counter()
    for row in census["color_profiles"]:
        files[row["use"].partition(":")[0]] += row["files"]
    managed = METHODS[Color.MANAGED] in result["store"]["resize"]
    if files[CONVERTED]:
        done = "converted to it" if managed else "not converted: the store was packed without"
        found.append(f"Files in other colours than sRGB, {done}: {files[CONVERTED]}.")
    if files["ignored"]:
        found.append(f"Files whose colour profile cannot be used: {files['ignored']}.")
    if inks := census["cmyk_without_profile"]:
        found.append(f"CMYK files without a profile, whose colours are approximate: {inks}.")
    return found


def _data_uri(sheet: Sheet) -> str | None:
    if sheet.jpeg is None:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(sheet.jpeg).decode()
