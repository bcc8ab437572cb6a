"""Synthetic images of each weather class: its motif on a background that the classes share.

The motif identifies the class (arcs, streaks, drops, branches ...); background, exposure and tint
are drawn from the same ranges for all classes, so that no mean colour identifies a class.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    import numpy.typing as npt

Colour = tuple[int, int, int]

BACKGROUNDS: list[tuple[Colour, Colour]] = [
    ((110, 140, 175), (150, 160, 165)),  # day sky, from top to bottom
    ((70, 80, 95), (110, 112, 115)),  # heavy cloud
    ((60, 85, 60), (95, 120, 80)),  # grass
    ((120, 100, 80), (95, 80, 65)),  # earth
    ((35, 45, 70), (75, 75, 95)),  # dusk
]
DUST: list[tuple[Colour, Colour]] = [
    ((165, 125, 85), (120, 85, 55)),
    ((110, 100, 90), (150, 125, 95)),
]
BOWS: list[Colour] = [
    (215, 60, 60), (230, 140, 50), (235, 220, 70), (90, 190, 90), (70, 120, 210), (120, 80, 180),
]  # fmt: skip


@dataclass
class Scene:
    """An unfinished picture, ``image`` in RGB; lengths in motifs are in ``unit`` pixels."""

    image: Image.Image
    rng: np.random.Generator

    @property
    def unit(self) -> float:
        """One percent of the shorter side."""
        return min(self.image.size) / 100

    def point(self) -> tuple[float, float]:
        """A random position in the picture."""
        return self.rng.uniform(0, self.image.width), self.rng.uniform(0, self.image.height)

    def between(self, low: float, high: float) -> float:
        """A random length in pixels, between ``low`` and ``high`` units."""
        return self.rng.uniform(low, high) * self.unit

    def grey(self, low: int, high: int) -> Colour:
        """A random near-white or grey, slightly blue."""
        value = int(self.rng.integers(low, high))
        return value - 6, value - 2, value

    def draw(self) -> ImageDraw.ImageDraw:
        """For drawing on the picture."""
        return ImageDraw.Draw(self.image)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.draw().ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def mix(self, other: Image.Image, mask: "npt.NDArray[np.floating]") -> None:
        """Blend ``other`` over the picture; ``mask`` (height, width) is its opacity, 0..1."""
        opacity = Image.fromarray((mask.clip(0, 1) * 255).astype(np.uint8))
        self.image.paste(other, (0, 0), opacity)

    def clouds(self, cells: int) -> "npt.NDArray[np.floating]":
        """Smooth noise, 0..1, of shape (height, width)."""
        coarse = Image.fromarray(self.rng.integers(0, 256, (cells, cells), dtype=np.uint8))
        smooth = coarse.resize(self.image.size, Image.Resampling.BICUBIC)
        return np.asarray(smooth, dtype=np.float64) / 255


def background(
    rng: np.random.Generator, size: tuple[int, int], choice: list[tuple[Colour, Colour]]
) -> Scene:
    """A scene of ``size`` (width, height) with a soft, clouded gradient."""
    top, bottom = choice[rng.integers(len(choice))]
    column = np.linspace(top, bottom, 8)[:, None].repeat(8, axis=1)
    rough = (column + rng.normal(0, 7, (8, 8, 1))).clip(0, 255).astype(np.uint8)
    return Scene(Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC), rng)


def dew(scene: Scene) -> None:
    """Clear drops: a dark rim and one small highlight."""
    for _ in range(scene.rng.integers(35, 90)):
        (x, y), radius = scene.point(), scene.between(1.5, 6)
        inside = scene.image.getpixel(
            (min(int(x), scene.image.width - 1), min(int(y), scene.image.height - 1))
        )
        assert isinstance(inside, tuple)  # noqa: S101  (the picture is RGB)
        scene.disc(x, y, radius, tuple(int(c * 0.55) for c in inside[:3]))  # type: ignore[arg-type]
        scene.disc(x, y, radius * 0.8, tuple(min(255, int(c * 1.2)) for c in inside[:3]))  # type: ignore[arg-type]
        scene.disc(x - radius * 0.3, y - radius * 0.3, radius * 0.25, (250, 250, 250))


def fogsmog(scene: Scene) -> None:
    """Faint silhouettes that fade into haze; hardly any contrast."""
    pen, (width, height) = scene.draw(), scene.image.size
    for _ in range(scene.rng.integers(4, 10)):
        left, wide = scene.rng.uniform(-0.1, 1) * width, scene.between(8, 25)
        top = height * scene.rng.uniform(0.3, 0.8)
        pen.rectangle((left, top, left + wide, height), fill=scene.grey(40, 90))
    haze = Image.new("RGB", scene.image.size, scene.grey(105, 175))
    scene.mix(haze, np.linspace(0.92, 0.7, height)[:, None] + 0.1 * scene.clouds(4))
    scene.image = scene.image.filter(ImageFilter.GaussianBlur(scene.unit * 1.2))


def frost(scene: Scene) -> None:
    """Thin bright ferns that branch at sixty degrees."""
    pen, colour = scene.draw(), scene.grey(190, 245)

    def grow(x: float, y: float, angle: float, length: float, depth: int) -> None:
        end = x + length * math.cos(angle), y + length * math.sin(angle)
        pen.line((x, y, *end), fill=colour)
        if depth == 0:
            return
        for step in np.linspace(0.2, 0.9, 5):
            for side in (-math.pi / 3, math.pi / 3):
                at = x + (end[0] - x) * step, y + (end[1] - y) * step
                grow(*at, angle + side, length * 0.4 * (1.1 - step / 2), depth - 1)

    for _ in range(scene.rng.integers(6, 12)):
        grow(*scene.point(), scene.rng.uniform(0, 2 * math.pi), scene.between(25, 55), 2)


def glaze(scene: Scene) -> None:
    """Dark twigs in thick clear ice, icicles below."""
    pen = scene.draw()
    for _ in range(scene.rng.integers(3, 7)):
        (x, y), angle = scene.point(), scene.rng.uniform(-0.5, 0.5)
        length, thick = scene.between(60, 130), max(3, int(scene.between(3, 6)))
        x -= length / 2
        end = x + length * math.cos(angle), y + length * math.sin(angle)
        pen.line((x, y, *end), fill=scene.grey(150, 215), width=thick)
        pen.line((x, y, *end), fill=(45, 35, 30), width=max(1, thick // 3))
        for step in scene.rng.uniform(0, 1, 9):
            at = x + (end[0] - x) * step, y + (end[1] - y) * step
            wide, deep = scene.between(0.8, 1.8), scene.between(6, 20)
            tip = (at[0], at[1] + deep)
            pen.polygon(
                [(at[0] - wide, at[1]), (at[0] + wide, at[1]), tip], fill=scene.grey(165, 235)
            )


def hail(scene: Scene) -> None:
    """Solid white stones of one size, each with its shadow."""
    size = scene.between(2, 4.5)
    for _ in range(scene.rng.integers(50, 130)):
        (x, y), radius = scene.point(), size * scene.rng.uniform(0.7, 1.3)
        scene.disc(x + radius * 0.35, y + radius * 0.45, radius, (35, 35, 38))
        scene.disc(x, y, radius, scene.grey(185, 245))


def lightning(scene: Scene) -> None:
    """One to three jagged, glowing bolts that fork."""
    glow = Image.new("L", scene.image.size)
    pen, (width, height) = ImageDraw.Draw(glow), scene.image.size

    def strike(x: float, y: float, reach: float, thick: int) -> None:
        while y < reach:
            end = x + scene.between(-9, 9), y + scene.between(4, 10)
            pen.line((x, y, *end), fill=255, width=thick)
            if thick > 1 and scene.rng.random() < 0.3:
                strike(*end, min(reach, end[1] + scene.between(15, 40)), 1)
            x, y = end

    for _ in range(scene.rng.integers(1, 4)):
        thick = max(2, round(scene.unit * 1.2))
        strike(scene.rng.uniform(0.15, 0.85) * width, 0, height * scene.rng.uniform(0.6, 1), thick)
    bolts = np.asarray(glow, dtype=np.float64) / 255
    halo = np.asarray(glow.filter(ImageFilter.GaussianBlur(scene.unit * 4)), dtype=np.float64) / 80
    scene.mix(Image.new("RGB", scene.image.size, (235, 230, 255)), np.maximum(bolts, halo))


def rain(scene: Scene) -> None:
    """Parallel slanting streaks all over."""
    pen, slant = scene.draw(), scene.rng.uniform(-0.35, 0.35)
    for _ in range(scene.rng.integers(150, 350)):
        (x, y), length = scene.point(), scene.between(5, 14)
        pen.line((x, y, x + length * slant, y + length), fill=scene.grey(130, 215))


def rainbow(scene: Scene) -> None:
    """A bow of six colours, sometimes with its fainter mirror outside."""
    width, height = scene.image.size
    centre = scene.rng.uniform(0.2, 0.8) * width, height * scene.rng.uniform(0.9, 1.3)
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(columns - centre[0], rows - centre[1]) / scene.unit
    radius, band = scene.rng.uniform(55, 95), scene.rng.uniform(1.6, 3.2)
    strength = scene.rng.uniform(0.45, 0.8)
    for number, colour in enumerate(BOWS):
        colour_layer = Image.new("RGB", scene.image.size, colour)
        scene.mix(colour_layer, strength * (np.abs(distance - radius + number * band) < band / 1.8))


def rime(scene: Scene) -> None:
    """Trees whose twigs are white and furry."""
    pen, (width, height) = scene.draw(), scene.image.size

    def grow(x: float, y: float, angle: float, length: float, depth: int) -> None:
        end = x + length * math.cos(angle), y + length * math.sin(angle)
        pen.line((x, y, *end), fill=scene.grey(195, 250), width=1 + depth)
        if depth > 0:
            for side in scene.rng.uniform(-0.9, 0.9, 3):
                grow(*end, angle + side, length * scene.rng.uniform(0.6, 0.8), depth - 1)

    for _ in range(scene.rng.integers(2, 5)):
        root = scene.rng.uniform(0, 1) * width, height * scene.rng.uniform(0.85, 1.05)
        grow(*root, -math.pi / 2 + scene.rng.normal(0, 0.1), scene.between(15, 28), 5)
    scene.image = scene.image.filter(ImageFilter.GaussianBlur(scene.unit * 0.3))


def sandstorm(scene: Scene) -> None:
    """A billowing wall of dust, dense below and with a ragged upper edge."""
    height = scene.image.height
    billows = 0.6 * scene.clouds(5) + 0.4 * scene.clouds(11)
    edge = scene.rng.uniform(0.1, 0.5)
    wall = (np.linspace(0, 1, height)[:, None] - edge + 0.6 * (billows - 0.5)) * 8
    top, bottom = DUST[scene.rng.integers(len(DUST))]
    for colour, mask in ((top, wall), (bottom, wall * billows)):
        scene.mix(Image.new("RGB", scene.image.size, colour), mask)


def snow(scene: Scene) -> None:
    """White ground below a horizon, and soft flakes near and far."""
    width, height = scene.image.size
    horizon = height * scene.rng.uniform(0.45, 0.8)
    drift = [(x, horizon + scene.between(-2, 2)) for x in np.linspace(0, width, 9)]
    scene.draw().polygon([*drift, (width, height), (0, height)], fill=scene.grey(150, 225))
    for _ in range(scene.rng.integers(100, 220)):
        scene.disc(*scene.point(), scene.between(0.4, 1.6), scene.grey(215, 250))
    scene.image = scene.image.filter(ImageFilter.GaussianBlur(scene.unit * 0.4))


MOTIFS: dict[str, Callable[[Scene], None]] = {
    motif.__name__: motif
    for motif in (
        dew, fogsmog, frost, glaze, hail, lightning, rain, rainbow, rime, sandstorm, snow,
    )
}  # fmt: skip


def paint(name: str, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """An RGB picture of class ``name``, ``size`` = (width, height)."""
    # Motifs are drawn small and enlarged, which costs less and rounds their edges as a lens does.
    scale = min(1.0, 400 / max(size))
    scene = background(
        rng, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), BACKGROUNDS
    )
    MOTIFS[name](scene)
    light = rng.uniform(0.75, 1.25) * rng.uniform(0.9, 1.1, 3)
    curve = (np.arange(256) * light[:, None]).clip(0, 255).astype(np.uint8).ravel().tolist()
    picture = scene.image.point(curve).resize(size, Image.Resampling.BICUBIC)
    return _grain(picture, rng)


def _grain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """``picture`` with sensor noise, which gives the file the entropy of a photograph."""
    from PIL import ImageChops

    tile = rng.normal(128, 5, (128, 128)).astype(np.uint8)
    repeats = -(-picture.height // 128), -(-picture.width // 128)
    noise = Image.fromarray(np.tile(tile, repeats)[: picture.height, : picture.width])
    return ImageChops.add(picture, Image.merge("RGB", (noise, noise, noise)), 1, -128)
