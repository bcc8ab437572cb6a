"""Odd and damaged files that people have: the verdict of both decoders, and the reason."""

from pathlib import Path

import pytest

from weather_hpc.dataset.image_file import ImageError
from weather_hpc.preprocess.decoders import Decode, FastDecoder, decode_exact

pytestmark = pytest.mark.images

REASONS = {
    **dict.fromkeys(
        ("bitrot0.jpg", "bitrot2.jpg", "bitrot3.jpg"), "damaged JPEG: Corrupt JPEG data: "
    ),
    "zero512.jpg": "damaged JPEG: zero bytes in place of pixels",
    "idat_rot80.png": "damaged PNG: chunk IDAT", "idat_rot95.png": "damaged PNG: chunk IDAT",
    "pillow_broken_data_stream.png": "damaged PNG: chunk IDAT",
    "png_zero_block.png": "damaged PNG: chunk IDAT", "iccp_crc.png": "damaged PNG: chunk iCCP",
    "dnl_height0.jpg": "is a JPEG of height 0", "drawing.svg": "is an SVG drawing, not an image",
    "html404.jpg": 'is a web page (HTML, "404 Not Found"), not an image',
    "lossy_trunc.webp": "damaged WEBP: truncated: 9969 of 14242 bytes",
    "mp4.jpg": "is an MP4 video, not an image",
    "pillow_crash-2020-10-test.tif": "cannot be decoded: decoder error -2: ",
}  # fmt: skip
USABLE = (
    "prog_no_eoi.jpg", "arith_over_64k.jpg", "multi_2nd_outside.tif", "multi_2nd_rot.tif",
    "multi_trunc.tif", "odd_1025x1025.jpg", "pillow_g4_orientation_6.tif", "grey16_trns.png",
)  # fmt: skip


@pytest.fixture(scope="module")
def cases(shared_images: Path) -> Path:
    folder = shared_images.parent / "cases" / "images"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="module", params=["fast", "exact"])
def decode(request: pytest.FixtureRequest) -> Decode:
    return FastDecoder() if request.param == "fast" else decode_exact


def test_every_refusal_has_its_reason(
    cases: Path, decode: Decode, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, reason in REASONS.items():
        with pytest.raises(ImageError) as refused:
            decode(cases / name, 32)
        assert str(refused.value).startswith(reason), name
        assert len(str(refused.value)) < 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", USABLE)
def test_what_is_all_there_is_accepted(cases: Path, decode: Decode, name: str) -> None:
    assert decode(cases / name, 32).shape == (32, 32, 3)
