"""ICC profiles: what a file's numbers mean, by both decoders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from tests.dataset.nasty import picture
from tests.preprocess import icc
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.preprocess.decoders import Decode, decode_exact, make_decoder
from weather_hpc.preprocess.jpeg import icc_profile
from weather_hpc.preprocess.profiles import available_color, read_profile
from weather_hpc.study.tasks import Color, Decoder

SIZE = 32

ADOBE = icc.rgb_profile()
NEARLY_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINK = icc.profile("RGB ", {}, kind="link")
DARK = icc.rgb_profile(icc.ADOBE / 8)


@pytest.fixture(scope="module", params=list(Decoder))
def decoder(request: pytest.FixtureRequest) -> Decoder:
    found: Decoder = request.param
    return found


@pytest.fixture(scope="module")
def managed(decoder: Decoder) -> Decode:
    return make_decoder(decoder)


@pytest.fixture(scope="module")
def plain(decoder: Decoder) -> Decode:
    return make_decoder(decoder, Color.IGNORE)


def largest(one: npt.NDArray[np.uint8], other: npt.NDArray[np.float64]) -> float:
    return float(abs(one - other).max())


def test_profiles_are_as_their_colour_arithmetic() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for colorants, gamma in ((icc.ADOBE, 2.2), (icc.SRGB, 1.8), (icc.SRGB[:, ::-1], 2.2)):
        profile = read_profile(icc.rgb_profile(colorants, gamma), "RGB")
        assert (profile.description, profile.space, profile.use) == (
            "of the tests", "RGB", "converted",
        )  # fmt: skip
        # littlecms computes in 8 to 15 bits, which shows in the steep part of sRGB near black
        assert largest(profile.to_srgb(pixels), icc.to_srgb(pixels, colorants, gamma)) < 3


FILES: dict[str, Callable[[Image.Image, Path], object]] = {
    "png": lambda image, path: image.save(path, "PNG", icc_profile=ADOBE),
    "palette": lambda image, path: image.quantize(200).save(path, "PNG", icc_profile=ADOBE),
    "alpha": lambda image, path: image.convert("RGBA").save(path, "PNG", icc_profile=ADOBE),
    "tiff": lambda image, path: image.save(path, "TIFF", icc_profile=ADOBE),
    "webp": lambda image, path: image.save(path, "WEBP", lossless=True, icc_profile=ADOBE),
    "jpeg": lambda image, path: image.save(path, "JPEG", quality=95, icc_profile=ADOBE),
    "reduced": lambda image, path: image.resize((300, 301)).save(
        path, "JPEG", quality=95, icc_profile=ADOBE
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_colours_are_converted_in_every_format(
    tmp_path: Path, managed: Decode, plain: Decode, kind: str
) -> None:
    FILES[kind](picture(5, (SIZE, SIZE)), tmp_path / "x")
    unmanaged = plain(tmp_path / "x", SIZE)
    np.testing.assert_allclose(managed(tmp_path / "x", SIZE), icc.to_srgb(unmanaged), atol=2)
    assert largest(managed(tmp_path / "x", SIZE), unmanaged.astype(float)) > 10


def test_what_is_nearly_srgb_is_left_to_the_bit(
    tmp_path: Path, managed: Decode, plain: Decode
) -> None:
    picture(1).save(tmp_path / "x.jpg", icc_profile=NEARLY_SRGB)
    np.testing.assert_array_equal(managed(tmp_path / "x.jpg", 8), plain(tmp_path / "x.jpg", 8))
    other_date = NEARLY_SRGB[:24] + bytes(12) + NEARLY_SRGB[36:]
    assert read_profile(NEARLY_SRGB, "RGB") is read_profile(other_date, "RGB")
    assert read_profile(NEARLY_SRGB, "RGB").use == "is sRGB"


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_a_profile_of_grey(tmp_path: Path, managed: Decode, mode: str) -> None:
    levels = np.linspace(0, 255, SIZE * SIZE).round().astype(np.uint8).reshape(SIZE, SIZE)
    deep = Image.fromarray(levels.astype(np.uint16) * 257)
    image = deep if mode == "I;16" else Image.fromarray(levels).convert(mode)
    image.save(tmp_path / "x.png", icc_profile=icc.grey_profile(1.8))
    greys = levels if mode != "1" else np.asarray(image.convert("L"))
    expected = icc.encoded((greys[..., None].repeat(3, axis=2) / 255) ** 1.8)
    np.testing.assert_allclose(managed(tmp_path / "x.png", SIZE), expected, atol=1.5)


def test_a_grey_jpeg_by_its_profile(tmp_path: Path, managed: Decode) -> None:
    Image.new("L", (40, 40), 64).save(tmp_path / "x.jpg", icc_profile=icc.grey_profile(1.8))
    expected = icc.encoded(np.array((64 / 255) ** 1.8))
    assert largest(managed(tmp_path / "x.jpg", 8), np.full((8, 8, 3), expected)) < 1.5


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
@pytest.mark.parametrize("inks", [(0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (1, 0, 1, 0)])
def test_inks_by_their_profile(
    tmp_path: Path, managed: Decode, suffix: str, inks: tuple[int, ...]
) -> None:
    full = tuple(255 * ink for ink in inks)
    image = Image.new("CMYK", (16, 16), full)
    image.save(tmp_path / f"x.{suffix}", icc_profile=icc.ink_profile(), quality=95)
    expected = icc.lightness_to_srgb(icc.INKS[inks])
    pixels = managed(tmp_path / f"x.{suffix}", 8)
    np.testing.assert_allclose(pixels, np.full((8, 8, 3), expected), atol=2)


@pytest.mark.parametrize(
    ("content", "mode", "use"),
    [
        (b"no profile at all", "RGB", "ignored: damaged"),
        (ADOBE[:200], "RGB", "ignored: damaged"),
        (DARK, "RGB", "ignored: damaged: white does not become white"),
        (icc.rgb_profile(gamma=0.0), "RGB", "ignored: damaged: greys become black or white"),
        (icc.rgb_profile(gamma=200.0), "RGB", "ignored: damaged: greys become black or white"),
        (icc.grey_profile(200.0), "L", "ignored: damaged: greys become black or white"),
        (LINK, "RGB", "ignored: of class link"),
        (ADOBE, "L", "ignored: it is for RGB, the image is GRAY"),
        (icc.grey_profile(1.0), "RGB", "ignored: it is for GRAY, the image is RGB"),
        (icc.ink_profile(), "RGB", "ignored: it is for CMYK, the image is RGB"),
        (ADOBE, "CMYK", "ignored: it is for RGB, the image is CMYK"),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored(
    tmp_path: Path, managed: Decode, plain: Decode, content: bytes, mode: str, use: str
) -> None:
    space = "GRAY" if mode == "L" else mode
    assert read_profile(content, space).use.startswith(use)
    picture(2, (SIZE, SIZE), mode).save(tmp_path / "x.jpg", icc_profile=content)
    np.testing.assert_array_equal(
        managed(tmp_path / "x.jpg", SIZE), plain(tmp_path / "x.jpg", SIZE)
    )


def test_a_converted_image_is_turned_upright_as_well(tmp_path: Path, managed: Decode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(3, (SIZE, SIZE))
    image.save(tmp_path / "x.jpg", quality=95, exif=exif, icc_profile=ADOBE)
    image.save(tmp_path / "y.jpg", quality=95, icc_profile=ADOBE)
    np.testing.assert_array_equal(
        managed(tmp_path / "x.jpg", SIZE), np.rot90(managed(tmp_path / "y.jpg", SIZE), -1)
    )


def segment(number: int, count: int, part: bytes) -> bytes:
    content = b"ICC_PROFILE\0" + bytes([number, count]) + part
    return b"\xff\xe2" + (len(content) + 2).to_bytes(2) + content


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([(1, 1, b"abc")], b"abc"),
        ([(2, 2, b"def"), (1, 2, b"abc")], b"abcdef"),
        ([(1, 2, b"abc")], None),
        ([(1, 2, b"abc"), (2, 3, b"def")], None),
        ([(1, 1, b"")], b""),
        ([], None),
    ],
)
def test_the_profile_of_a_jpeg_is_read_as_by_pillow(
    tmp_path: Path, parts: list[tuple[int, int, bytes]], whole: bytes | None
) -> None:
    picture(1).save(tmp_path / "x.jpg")
    jpeg = (tmp_path / "x.jpg").read_bytes()
    jpeg = jpeg[:2] + b"".join(segment(*part) for part in parts) + jpeg[2:]
    (tmp_path / "x.jpg").write_bytes(jpeg)
    assert icc_profile(jpeg) == whole
    if len({count for _, count, _ in parts}) < 2:  # Pillow looks at the first count alone
        with Image.open(tmp_path / "x.jpg") as image:
            assert image.info.get("icc_profile") == whole
    for end in range(40):  # cut off: no error
        icc_profile(jpeg[:end])


def test_a_large_profile_is_in_several_segments(tmp_path: Path) -> None:
    large = icc.profile("RGB ", {"junk": b"text" + bytes(4) + b"x" * 150_000})
    picture(1).save(tmp_path / "x.jpg", icc_profile=large)
    assert icc_profile((tmp_path / "x.jpg").read_bytes()) == large


def test_without_littlecms_profiles_are_ignored_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert available_color(Color.MANAGED) is Color.MANAGED
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("PIL.features.check", lambda name: name != "littlecms2")
    assert available_color(Color.MANAGED) is Color.IGNORE
    assert "profiles are ignored" in capsys.readouterr().err
    assert available_color(Color.IGNORE) is Color.IGNORE
    assert capsys.readouterr().err == ""


def test_stores_of_other_colours_are_never_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            file = tmp_path / "photos" / name / f"{number}.png"
            picture(ord(name) + 3 * number).save(file, icc_profile=ADOBE)
    arguments = ["--data", str(tmp_path / "photos"), "--out", str(tmp_path / "s"), "--size", "16"]
    assert preprocess([*arguments, "--color", "ignore"]) == 0
    ignored = np.load(tmp_path / "s" / "images.npy")
    from weather_hpc.errors import UserError

    with pytest.raises(UserError, match="resize differs"):
        preprocess(arguments)
    arguments[3] = str(tmp_path / "t")
    assert preprocess(arguments) == 0
    converted = np.load(tmp_path / "t" / "images.npy")
    np.testing.assert_allclose(converted, icc.to_srgb(ignored), atol=2)
    assert not np.array_equal(converted, ignored)
    with pytest.raises(UserError, match="--color vivid: no such color; known: managed, ignore"):
        preprocess([*arguments, "--color", "vivid"])


@pytest.mark.images
def test_photographs_are_converted_after_the_resize_as_well_as_before(shared_images: Path) -> None:
    found: list[float] = []
    for path in sorted(shared_images.rglob("*.jp*g")):
        with Image.open(path) as image:
            content = image.info.get("icc_profile")
            if content is None or image.mode != "RGB" or len(found) == 12:
                continue
            profile = read_profile(content, "RGB")
            if profile.transform is None:
                continue
            whole = Image.fromarray(profile.to_srgb(np.asarray(image)))
            before = np.asarray(whole.resize((256, 256), Image.Resampling.BICUBIC))
        found.append(float(np.mean((before.astype(float) - decode_exact(path, 256)) ** 2)))
    assert len(found) == 12
    assert np.median(found) < 255**2 / 10**5.2  # 52 dB
