"""The fast decoder keeps the exact one's rules, and visually equal pixels."""

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.dataset.nasty import USABLE, huge_claim, nasty_folder, picture, plain_folder, save
from tests.preprocess.test_exact_decoder import UPRIGHT
from weather_hpc.dataset.image_file import ImageError
from weather_hpc.preprocess.decoders import (
    METHODS,
    Decode,
    FastDecoder,
    available,
    cost,
    decode_exact,
    make_decoder,
    reduction,
)
from weather_hpc.preprocess.jpeg import has_metadata
from weather_hpc.study.tasks import Decoder

SIZE = 32


@pytest.fixture(scope="module")
def fast() -> FastDecoder:
    return FastDecoder()


def psnr(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, dB; at most 100."""
    error = float(np.mean((one.astype(float) - other) ** 2))
    return float(10 * np.log10(255**2 / max(error, 255**2 / 1e10)))


@pytest.mark.images
def test_photographs_look_as_decoded_in_full(shared_images: Path, fast: FastDecoder) -> None:
    """Against Pillow's full decode and its antialiased bicubic resize to 256 x 256."""
    samples = {
        "weapd-sample": sorted(shared_images.glob("weapd-sample/*/*")),
        "weather5": sorted(shared_images.glob("weather5/**/*.jp*g"))[::9],
    }
    for name, paths in samples.items():
        assert len(paths) > 50
        quality = [psnr(fast(path, 256), decode_exact(path, 256)) for path in paths]
        assert np.median(quality) >= 70, name
        assert np.percentile(quality, 5) >= 50, name


@pytest.mark.images
def test_reduced_photographs_alone_look_as_decoded_in_full(
    shared_images: Path, fast: FastDecoder
) -> None:
    """A few large photographs among many small ones would not show in the test above."""
    reduced = []
    for path in sorted(shared_images.rglob("*.jp*g")):
        with Image.open(path) as image:
            if image.format == "JPEG" and reduction(*image.size, 256) > 1:
                reduced.append(path)
    assert len(reduced) > 50
    quality = [psnr(fast(path, 256), decode_exact(path, 256)) for path in reduced[::2]]
    assert np.median(quality) >= 52
    assert np.percentile(quality, 5) >= 49


@pytest.mark.parametrize(
    ("width", "height", "factor"),
    [(895, 5000, 1), (896, 896, 2), (5000, 1791, 2), (1792, 2000, 4), (9000, 9000, 8)],
)
def test_a_side_is_never_reduced_below_seven_quarters(width: int, height: int, factor: int) -> None:
    assert reduction(width, height, 256) == factor


@pytest.mark.parametrize(("size_bytes", "factor"), [(400_000, 4), (400_001, 2)])
def test_a_file_of_many_bytes_is_reduced_less(size_bytes: int, factor: int) -> None:
    assert reduction(2400, 1000, 128, size_bytes) == factor


@pytest.mark.parametrize("quality", [90, 75])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((801, 603), 8), ((449, 897), 8), ((455, 448), 8), ((225, 300), 4), ((231, 501), 4),
        ((113, 400), 2), ((301, 113), 2), ((117, 113), 2),
    ],
)  # fmt: skip
def test_sides_that_are_no_multiple_of_the_reduction(
    tmp_path: Path, fast: FastDecoder, size: tuple[int, int], factor: int, subsampling: str,
    quality: int,
) -> None:  # fmt: skip
    """The last column and row of the reduced pixels lie partly outside the image."""
    assert reduction(*size, SIZE) == factor
    for orientation in (1, 3, 6):  # the padded edge is on another side
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(
            tmp_path / "x.jpg", 3, size=size, subsampling=subsampling, quality=quality, exif=exif
        )
        assert psnr(fast(path, SIZE), decode_exact(path, SIZE)) > 50


@pytest.mark.parametrize("side", [*range(448, 464), 511, 513, 999])
def test_every_side_gives_the_size_asked_for(tmp_path: Path, fast: FastDecoder, side: int) -> None:
    path = save(tmp_path / "x.jpg", 1, size=(side, 2 * side))
    for size in (31, SIZE):
        assert fast(path, size).shape == (size, size, 3)


@pytest.mark.parametrize("where", ["exif", "xmp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_jpeg_is_turned_upright(
    tmp_path: Path, fast: FastDecoder, where: str, orientation: int
) -> None:
    image = Image.new("RGB", (80, 40), "red")
    image.paste("lime", (40, 0, 80, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = f'<x:xmpmeta><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    options = {"exif": exif} if where == "exif" else {"xmp": xmp}
    image.save(tmp_path / "x.jpg", quality=95, **options)
    assert psnr(fast(tmp_path / "x.jpg", SIZE), decode_exact(tmp_path / "x.jpg", SIZE)) > 60


def test_metadata_are_found_before_the_pixels(tmp_path: Path) -> None:
    plain = save(tmp_path / "x.jpg", 1).read_bytes()
    assert not has_metadata(plain)
    app1 = b"\xff\xe1\x00\x04ab"
    assert has_metadata(plain[:2] + app1 + plain[2:])
    assert has_metadata(plain[:2] + b"\xff\xff" + app1 + plain[2:])  # filled, as is allowed
    assert not has_metadata(plain + app1)
    for end in range(2, 60):  # cut off or led astray: Pillow is to look
        assert has_metadata(plain[:end])


def test_other_files_than_jpegs_follow_the_same_rules(tmp_path: Path, fast: FastDecoder) -> None:
    picture(1, (40, 30), "RGBA").save(tmp_path / "alpha.png")
    picture(2, (40, 30), "CMYK").save(tmp_path / "inks.jpg")
    picture(3, (40, 30), "P").save(tmp_path / "palette.gif")
    Image.fromarray(np.full((9, 9), 25700, dtype=np.uint16)).save(tmp_path / "deep.png")
    picture(4, (40, 30), "L").save(tmp_path / "grey.jpg")
    for path in tmp_path.iterdir():
        assert psnr(fast(path, SIZE), decode_exact(path, SIZE)) > 50, path.name


def test_a_nasty_folder_decodes_except_its_truncated_file(
    tmp_path: Path, fast: FastDecoder
) -> None:
    root = nasty_folder(tmp_path / "images")
    failed = {}
    for path in USABLE:
        try:
            assert psnr(fast(root / path, SIZE), decode_exact(root / path, SIZE)) > 30
        except ImageError as error:
            failed[path] = str(error)
    assert list(failed) == ["rain/truncated.jpg"]
    assert "truncated" in failed["rain/truncated.jpg"]


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", huge_claim()])
def test_what_cannot_be_decoded_says_why(tmp_path: Path, fast: FastDecoder, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as exact:
        decode_exact(path, SIZE)
    with pytest.raises(ImageError) as ours:
        fast(path, SIZE)
    assert str(ours.value) == str(exact.value)
    with pytest.raises(ImageError, match="No such file"):
        fast(tmp_path / "absent.jpg", SIZE)


def test_a_jpeg_that_claims_too_much_is_refused_before_it_is_decoded(
    tmp_path: Path, fast: FastDecoder
) -> None:
    content = bytearray(save(tmp_path / "x.jpg", 1).read_bytes())
    frame = content.index(b"\xff\xc0") + 5
    content[frame : frame + 4] = b"\xff\xdc\xff\xdc"  # 65500 x 65500
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ImageError, match="more than"):
        fast(tmp_path / "x.jpg", SIZE)


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_judged_as_by_the_exact_decoder(
    tmp_path: Path, fast: FastDecoder, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    path = save(tmp_path / "x", seed, size=(90, 70))
    content = bytearray(path.read_bytes())
    for position in rng.integers(len(content) // 2, len(content), 3):
        content[position] = rng.integers(256)
    path.write_bytes(content[: rng.integers(len(content) * 3 // 4, len(content) + 1)])

    def reason(decoder: Decode) -> str | None:
        try:
            decoder(path, SIZE)
        except ImageError as error:
            return str(error)
        return None

    assert reason(fast) == reason(decode_exact)


def test_without_its_packages_the_exact_decoder_is_used_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert available(Decoder.FAST) is Decoder.FAST
    assert capsys.readouterr().err == ""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "simplejpeg" else find(name)
    )
    assert available(Decoder.FAST) is Decoder.EXACT
    assert "simplejpeg not installed" in capsys.readouterr().err
    assert available(Decoder.EXACT) is Decoder.EXACT
    assert capsys.readouterr().err == ""


def test_names(tmp_path: Path) -> None:
    assert set(METHODS) == set(Decoder)
    assert make_decoder(Decoder.EXACT) is decode_exact
    path = plain_folder(tmp_path / "images")
    (first, *_) = sorted(path.rglob("*.jpg"))
    assert make_decoder(Decoder.FAST)(first, SIZE).shape == (SIZE, SIZE, 3)


def test_a_large_jpeg_costs_the_fast_decoder_less_than_the_exact_one() -> None:
    def pixels(decoder: Decoder, side: int) -> int:
        return cost(decoder, side, side, 0, 256) - cost(decoder, 0, 0, 0, 256)

    assert pixels(Decoder.EXACT, 4000) == pixels(Decoder.FAST, 4000) * 64
    assert pixels(Decoder.EXACT, 300) == pixels(Decoder.FAST, 300)
    assert cost(Decoder.FAST, 300, 300, 1000, 256) > cost(Decoder.FAST, 300, 300, 0, 256)
