"""Finding the studies and sites that come with the package, by name."""

from pathlib import Path
from typing import Literal

from weather_hpc.errors import UserError, nearest

PACKAGE = Path(__file__).resolve().parents[1]


def folder(kind: Literal["studies", "sites"]) -> Path:
    """The folder of shipped YAML files: in the wheel, or the checkout's ``hpc/``."""
    inside = PACKAGE / "hpc" / kind
    return inside if inside.is_dir() else PACKAGE.parent / "hpc" / kind


def shipped(kind: Literal["studies", "sites"], name: str) -> Path:
    """The file called ``name``, or else the shipped one of that name."""
    path = Path(name)
    if path.is_file():
        return path
    known = {file.stem: file for file in sorted(folder(kind).glob("*.yaml"))}
    if name in known:
        return known[name]
    if path.is_dir():
        raise UserError(f"{path}: a folder; a YAML file is wanted")
    stem = path.name.removesuffix(".yaml").removesuffix(".yml")
    raise UserError(
        f"no file {name!r} and no shipped {kind} of that name{nearest(stem, list(known))}"
    )
