"""Reference pages generated from the code, so that each fact is written once."""

import os
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import weather_hpc
from weather_hpc.__main__ import VERBS
from weather_hpc.runs.record import RunRecord
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.site import SiteProfile

PAGES: dict[str, tuple[str, type[BaseModel], str]] = {
    "study": ("Study YAML", StudyConfig, "What to measure. Shipped: `hpc/studies/*.yaml`."),
    "site": ("Site YAML", SiteProfile, "Where it runs. Shipped: `hpc/sites/*.yaml`."),
    "record": (
        "Run record",
        RunRecord,
        "The result of a run, `record.json`. `null`: not applicable or not available, never 0.",
    ),
}

GALLERY = """# Gallery

Every plot that the report draws of the small sweep in `results/example/`. The page offers each as
SVG, and its values as CSV; the folder `plots/` has it as SVG, PNG and PDF; in Python
`weather_hpc.load("results/example").plot(name)` draws it.
"""
PLOT = """
## {plot.title}

`{plot.name}`

```{{image}} {plot.name}.png
:alt: {plot.title}
:width: {width}
```
"""


def write_reference(source: Path) -> None:
    """Write ``reference/generated/*.md`` below the documentation's folder."""
    folder = source / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, model, text) in PAGES.items():
        (folder / f"{name}.md").write_text(f"# {title}\n\n{text}\n{tables(model)}")
    (folder / "cli.md").write_text(f"# Command line\n{commands()}")


def write_gallery(source: Path) -> None:
    """Write ``reference/generated/gallery.md``: every plot of the report of results/example."""
    folder = source / "reference" / "generated"
    results = weather_hpc.load(source.parent / "results" / "example")
    text = GALLERY
    for plot in results.report.drawn:
        results.plot(plot.name).savefig(folder / f"{plot.name}.png", dpi=110)
        text += PLOT.format(plot=plot, width="100%" if plot.wide else "60%")
    (folder / "gallery.md").write_text(text)


def commands() -> str:
    """Each verb's own help text."""

    def section(verb: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", f"weather_hpc.{verb}", "--help"],
            capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "96"},
        )  # fmt: skip
        return f"\n## {verb}\n\n```text\n{done.stdout.rstrip()}\n```\n"

    with ThreadPoolExecutor() as pool:
        return "".join(pool.map(section, VERBS))


def tables(model: type[BaseModel]) -> str:
    """One table of fields for ``model``, then one for each model in it."""
    parts, seen, waiting = [], {model}, [model]
    while waiting:
        current = waiting.pop(0)
        about = " ".join((current.__doc__ or "").split())
        rows = []
        for name, field in current.model_fields.items():
            cells = [
                f"`{name}`",
                type_text(field.annotation),
                default(field),
                field.description or "",
            ]
            rows.append("| " + " | ".join(cells) + " |")
            for inner in models_in(field.annotation):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)
        head = "| key | type | default | meaning |\n|---|---|---|---|\n"
        parts.append(f"\n## {current.__name__}\n\n{about}\n\n{head}" + "\n".join(rows) + "\n")
    return "".join(parts)


def default(field: Any) -> str:
    """The default as YAML or JSON shows it; ``required`` where there is none."""
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if isinstance(value, list):
        value = [item.value if isinstance(item, Enum) else item for item in value]
    value = value.value if isinstance(value, Enum) else value
    if value == sys.executable:
        return "this interpreter"
    return "null" if value is None else f"`{value}`"


def type_text(annotation: Any) -> str:
    """A type as text."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(part) for part in inner if part is not type(None))
    if origin is list:
        return f"list of {type_text(inner[0])}"
    if origin is dict:
        return f"mapping of {type_text(inner[0])} to {type_text(inner[1])}"
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in inner)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    names = {int: "integer", float: "number", str: "string", bool: "true or false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
