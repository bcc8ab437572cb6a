import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from tests.dataset.nasty import USABLE, huge_claim, nasty_folder, picture, png_block, save
from weather_hpc.dataset.image_file import ImageError
from weather_hpc.preprocess.decoders import Decode, decode_exact, make_decoder
from weather_hpc.study.tasks import Decoder

SIZE = 32


def corners(path: Path, decode: Decode = decode_exact) -> list[tuple[int, ...]]:
    """The colours near the corners: top left, top right, bottom left, bottom right."""
    pixels = decode(path, SIZE)
    edge = SIZE - 3
    return [tuple(pixels[row, column].tolist()) for row in (2, edge) for column in (2, edge)]


@pytest.fixture
def four_colours() -> Image.Image:
    image = Image.new("RGB", (80, 40))
    for box, colour in (
        ((0, 0, 40, 20), "red"), ((40, 0, 80, 20), "lime"),
        ((0, 20, 40, 40), "blue"), ((40, 20, 80, 40), "white"),
    ):  # fmt: skip
        image.paste(colour, box)
    return image


RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

# What a viewer shows at top left, top right, bottom left, bottom right, by the EXIF standard.
UPRIGHT = {
    1: [RED, LIME, BLUE, WHITE],
    2: [LIME, RED, WHITE, BLUE],
    3: [WHITE, BLUE, LIME, RED],
    4: [BLUE, WHITE, RED, LIME],
    5: [RED, BLUE, LIME, WHITE],
    6: [BLUE, RED, WHITE, LIME],
    7: [WHITE, LIME, BLUE, RED],
    8: [LIME, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path: Path, four_colours: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    four_colours.save(tmp_path / "x.png", exif=exif)
    assert corners(tmp_path / "x.png") == UPRIGHT[orientation]


@pytest.mark.parametrize("name", Decoder)
@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "tiff_lzw", "save_all": True}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("MPO", {"quality": 100, "subsampling": 0, "save_all": True}),
    ],
)
def test_every_format_is_turned_upright_once(
    tmp_path: Path, four_colours: Image.Image, kind: str, options: dict[str, object],
    orientation: int, name: Decoder,
) -> None:  # fmt: skip
    """Pillow turns a TIFF itself when it loads it, whatever decodes it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"append_images": [four_colours]} if "save_all" in options else {}
    four_colours.save(tmp_path / "x", kind, exif=exif, **options, **more)
    found = np.array(corners(tmp_path / "x", make_decoder(name)))
    np.testing.assert_allclose(found, UPRIGHT[orientation], atol=2)
    with Image.open(tmp_path / "x") as image:
        shown = ImageOps.exif_transpose(image).convert("RGB")
        expected = np.asarray(shown.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(make_decoder(name)(tmp_path / "x", SIZE), expected, atol=4)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_fax_is_turned_upright_once(tmp_path: Path, orientation: int) -> None:
    """Group 4: a bit per pixel, by libtiff."""
    image = Image.new("1", (80, 40))
    image.paste(1, (40, 0, 80, 20))
    image.save(tmp_path / "x", "TIFF", compression="group4", tiffinfo={274: orientation})
    expected = [WHITE if colour == LIME else (0, 0, 0) for colour in UPRIGHT[orientation]]
    assert corners(tmp_path / "x") == expected


def test_a_plain_photograph_is_stretched_by_an_antialiased_bicubic(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", 1, size=(301, 177))
    with Image.open(path) as image:
        expected = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    pixels = decode_exact(path, SIZE)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (10, 10, 10, 255))
    image.paste((200, 0, 0, 0), (0, 0, 4, 8))
    options = {"transparency": 0} if mode == "P" else {}
    if mode == "P":
        image = Image.new("P", (8, 8), 1)
        image.putpalette([200, 0, 0, 10, 10, 10])
        image.paste(0, (0, 0, 4, 8))
    image.convert(mode).save(tmp_path / "x.png", **options)  # type: ignore[arg-type]
    assert corners(tmp_path / "x.png") == [WHITE, (10, 10, 10)] * 2


def png(samples: npt.NDArray[np.int64], bits: int, transparent: npt.NDArray[np.int64]) -> bytes:
    """A PNG of ``samples``, grey (height, width) or RGB (..., 3), one of them transparent."""
    height, width = samples.shape[:2]
    if bits < 8:
        high_first = samples[..., None] >> np.arange(bits)[::-1] & 1
        rows = np.packbits(high_first.reshape(height, -1), axis=1)
    else:
        rows = samples.reshape(height, -1).astype(">u2" if bits == 16 else ">u1").view(np.uint8)
    lines = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # filter 0 before each line
    kind = 2 if samples.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            png_block(b"IHDR", header),
            png_block(b"tRNS", transparent.astype(">u2").tobytes()),
            png_block(b"IDAT", zlib.compress(lines)),
            png_block(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("name", Decoder)
@pytest.mark.parametrize(
    ("bits", "channels"), [(2, ()), (4, ()), (8, ()), (16, ()), (8, (3,)), (16, (3,))]
)
def test_a_png_s_transparent_sample_becomes_white(
    tmp_path: Path, name: Decoder, bits: int, channels: tuple[int, ...]
) -> None:
    """Compared with all its bits: at 16, others of the same high byte are not transparent."""
    samples = np.random.default_rng(bits).integers(0, 2**bits, (SIZE, SIZE, *channels))
    transparent = samples[5, 7]
    samples[9:12, 9:12] = transparent
    samples[20] = transparent ^ 1
    (tmp_path / "x.png").write_bytes(png(samples, bits, np.atleast_1d(transparent)))
    if bits == 16:
        expected = samples >> 8 if channels else samples // 257
    else:
        expected = samples * (255 // (2**bits - 1))
    if not channels:
        samples, expected = (np.repeat(x[..., None], 3, axis=2) for x in (samples, expected))
    expected[(samples == transparent).all(axis=-1)] = 255
    np.testing.assert_array_equal(make_decoder(name)(tmp_path / "x.png", SIZE), expected)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_of_grey_keep_their_scale(tmp_path: Path, suffix: str) -> None:
    for value, expected in ((0, 0), (257 * 100, 100), (65535, 255)):
        image = Image.fromarray(np.full((9, 9), value, dtype=np.uint16))
        image.save(tmp_path / f"x.{suffix}")
        assert (decode_exact(tmp_path / f"x.{suffix}", SIZE) == expected).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_greys_whose_zero_is_white(tmp_path: Path, kind: type[np.uint8 | np.uint16]) -> None:
    most = np.iinfo(kind).max
    image = Image.fromarray(np.full((9, 9), most // 5, dtype=kind))
    image.save(tmp_path / "x.tif")
    content = (tmp_path / "x.tif").read_bytes()
    black, white = (struct.pack("<HHIHH", 262, 3, 1, n, 0) for n in (1, 0))  # what zero is
    (tmp_path / "x.tif").write_bytes(content.replace(black, white))
    for decoder in Decoder:
        assert (make_decoder(decoder)(tmp_path / "x.tif", SIZE) == 255 * 4 // 5).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_samples_with_a_sign_have_no_white(
    tmp_path: Path, kind: type[np.uint8 | np.uint16]
) -> None:
    image = Image.fromarray(np.full((9, 9), 50, dtype=kind))
    image.save(tmp_path / "x.tif", tiffinfo={339: 2})  # SampleFormat
    with pytest.raises(ImageError, match="signed samples"):
        decode_exact(tmp_path / "x.tif", SIZE)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = decode_exact(tmp_path / "red.jpg", SIZE)[4, 4].tolist()
    assert red > 230
    assert green < 25
    assert blue < 25


@pytest.mark.parametrize("mode", ["L", "1", "P", "YCbCr"])
def test_other_modes_look_as_pillow_shows_them(tmp_path: Path, mode: str) -> None:
    image = picture(3, (SIZE, SIZE), mode)
    image.save(tmp_path / "x.tiff")
    np.testing.assert_array_equal(decode_exact(tmp_path / "x.tiff", SIZE), image.convert("RGB"))


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.jpg", format="GIF", save_all=True, append_images=frames[1:])
    assert corners(tmp_path / "x.jpg") == [RED] * 4


def test_a_nasty_folder_decodes_except_its_truncated_file(tmp_path: Path) -> None:
    root = nasty_folder(tmp_path / "images")
    failed = {}
    for path in USABLE:
        try:
            assert decode_exact(root / path, SIZE).shape == (SIZE, SIZE, 3)
        except ImageError as error:
            failed[path] = str(error)
    assert list(failed) == ["rain/truncated.jpg"]
    assert "truncated" in failed["rain/truncated.jpg"]


def test_damaged_metadata_does_not_cost_the_image(tmp_path: Path) -> None:
    file = io.BytesIO()
    picture(1).save(file, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + os.urandom(30))
    (tmp_path / "x.jpg").write_bytes(file.getvalue())
    picture(1).save(tmp_path / "same.jpg")
    np.testing.assert_array_equal(
        decode_exact(tmp_path / "x.jpg", SIZE), decode_exact(tmp_path / "same.jpg", SIZE)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not an image"), (b"GIF89a", "header|not an image"), (huge_claim(), "more than")],
)
def test_what_cannot_be_decoded_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=message):
        decode_exact(tmp_path / "x.jpg", SIZE)
    with pytest.raises(ImageError, match="No such file"):
        decode_exact(tmp_path / "absent.jpg", SIZE)


def test_floating_point_has_no_white(tmp_path: Path) -> None:
    Image.new("F", (4, 4), 0.5).save(tmp_path / "x.tiff")
    with pytest.raises(ImageError, match="floating-point"):
        decode_exact(tmp_path / "x.tiff", SIZE)


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_is_an_image_or_an_image_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = save(tmp_path / "x", seed, format=("JPEG", "PNG", "GIF", "WEBP")[seed % 4])
    content = bytearray(path.read_bytes())
    for position in rng.integers(0, len(content), 12):
        content[position] = rng.integers(256)
    path.write_bytes(content[: rng.integers(len(content) // 2, len(content) + 1)])
    with contextlib.suppress(ImageError):
        assert decode_exact(path, SIZE).shape == (SIZE, SIZE, 3)
