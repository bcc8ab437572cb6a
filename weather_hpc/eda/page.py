"""eda.html: all results on one page without external files."""

import base64
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from weather_hpc.eda import near_duplicates, thumbnails
from weather_hpc.eda.sheets import Sheet
from weather_hpc.eda.thumbnails import ContactSheet, Thumbnail
from weather_hpc.files import write_text
from weather_hpc.preprocess.profiles import CONVERTED, METHODS
from weather_hpc.report.drawing import Drawing, inline_svg
from weather_hpc.report.html_template import html_template
from weather_hpc.study.tasks import Color
from weather_hpc.text import significant

ODD_HEADS = {
    "class": ("Look like another class",
              ("Of the 10 images most like them by colour and coarse shape none is of their class "
               "and at least 8 are of one other. Not all of them are wrong.")),
    "brightness": ("Brightness", "Dark or bright for their class."),
    "sharpness": ("Sharpness", "Few or many edges for their class, as stored: blur, noise, text."),
    "size": ("Size", "Many or few pixels."),
    "shape": ("Shape", "Tall or wide; stored images are square, so these are distorted the most."),
}  # fmt: skip
"""Heading and text of each kind of odd images."""

SHOWN_ROWS = 200
"""Rows of the page's tables of pairs and of profiles; the files have all."""


def write_page(
    path: Path,
    name: str,
    result: dict[str, Any],
    charts: Sequence[tuple[Drawing, str]],
    sheets: Sequence[Sheet],
    contacts: Sequence[ContactSheet],
    odd: dict[str, tuple[int, list[Thumbnail]]],
) -> None:
    """Write the page to ``path``. Names of files and classes appear as text, never as markup.

    The page's content security policy allows no script and loads nothing.
    """
    from markupsafe import Markup

    style = (files("weather_hpc.report") / "templates" / "report.css").read_text("utf-8")
    template = files("weather_hpc.eda") / "templates" / "eda.html.j2"
    page = html_template(template.read_text("utf-8")).render(
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
        sheets={sheet.name: (sheet, sheet.jpeg and data_uri(sheet.jpeg)) for sheet in sheets},
        contacts=contacts,
        odd=odd,
        odd_heads=ODD_HEADS,
        height=thumbnails.HEIGHT,
        data_uri=data_uri,
        imbalance=imbalance(result["classes"]),
        **result,
    )
    write_text(path, page)


def findings(result: dict[str, Any]) -> list[str]:
    """Findings to consider before training, most important first."""
    return [
        sentence
        for find in (
            _leak,
            _mislabelled,
            _odd,
            _imbalance,
            _left_out,
            _unusual_files,
            _color_profiles,
        )
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


def _odd(result: dict[str, Any]) -> list[str]:
    by_kind = result["odd_images"]["by_kind"]
    strange = by_kind.get("class", 0)
    found = [f"Images that look like those of another class, whose labels to check: {strange}."]
    others = [f"{kind} {count}" for kind, count in by_kind.items() if kind != "class"]
    return found[: bool(strange)] + (
        [f"Images far from the others: {', '.join(others)}."] if others else []
    )


UNEVEN = 1.5
"""The largest class over the smallest, from which on it is a finding."""


def _imbalance(result: dict[str, Any]) -> list[str]:
    counts = [row["images"] for row in result["classes"]]
    return [imbalance(result["classes"])] if max(counts) >= UNEVEN * min(counts) else []


def imbalance(classes: Sequence[dict[str, Any]]) -> str:
    """How even the classes are, in a sentence."""
    counts = sorted((row["images"], row["class"]) for row in classes)
    (fewest, rare), (most, common) = counts[0], counts[-1]
    if not fewest:
        return f"{rare} has no image here."
    if len(counts) == 1:
        return f"There is one class, {common}: nothing can be told apart."
    always = f"who always answers {common} is right for {most / sum(n for n, _ in counts):.0%}"
    if most < UNEVEN * fewest:
        return f"The classes are of similar size, {fewest} to {most} images; {always}."
    return (
        f"{common} has {most / fewest:.1f} times the images of {rare} ({most} and {fewest}); "
        f"{always}. Accuracy alone hides results of small classes: look at each class's recall."
    )


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


def data_uri(jpeg: bytes) -> str:
    """A picture as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
