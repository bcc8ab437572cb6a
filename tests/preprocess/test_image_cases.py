"""Files whose pixels were decoded wrong once."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.preprocess.test_fast_decoder import psnr
from weather_hpc.preprocess.decoders import Decode, decode_exact, make_decoder
from weather_hpc.study.tasks import Color, Decoder

SIZE = 256


def cases(folder: Path, kind: str) -> list[Path]:
    with (folder / "images" / "cases.csv").open(newline="") as file:
        found = [row["file"] for row in csv.DictReader(file) if row["kind"] == kind]
    assert found
    return [folder / "images" / name for name in found]


@pytest.fixture(scope="module", params=list(Decoder))
def decode(request: pytest.FixtureRequest) -> Decode:
    return make_decoder(request.param)


@pytest.mark.images
@pytest.mark.parametrize("kind", ["tiff orientation", "odd side, reduced"])
def test_they_look_as_pillow_shows_them(shared_cases: Path, decode: Decode, kind: str) -> None:
    for path in cases(shared_cases, kind):
        with Image.open(path) as image:
            shown = ImageOps.exif_transpose(image).convert("RGB")
        expected = np.asarray(shown.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        assert psnr(decode(path, SIZE), expected) > 50, path.name


@pytest.mark.images
def test_the_transparent_third_is_white(shared_cases: Path, decode: Decode) -> None:
    for path in cases(shared_cases, "16 bits with tRNS"):
        white = (decode(path, SIZE) == 255).all(axis=-1)
        assert white[: SIZE // 3 - 1].all(), path.name
        assert white.mean() < 0.34, path.name


@pytest.mark.images
def test_colours_are_those_of_the_profile(shared_cases: Path, decode: Decode) -> None:
    swapped, inks = cases(shared_cases, "ICC profile")
    plain = decode_exact(swapped, SIZE, Color.IGNORE)[..., ::-1]  # its red and blue are exchanged
    assert psnr(decode(swapped, SIZE), plain) > 50
    assert psnr(decode(inks, SIZE), decode_exact(inks, SIZE, Color.IGNORE)) > 50  # it has none
