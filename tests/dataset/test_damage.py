"""Damage is told with its reason, and what comes after the last pixel does no harm."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from tests.dataset.nasty import png_block
from weather_hpc.dataset.damage import DamagedError, sound
from weather_hpc.dataset.image_file import ImageError
from weather_hpc.dataset.jpeg_file import has_all_scans, lost_block, segments
from weather_hpc.dataset.png_file import SIGNATURE
from weather_hpc.preprocess.decoders import Decode, FastDecoder, decode_exact

SIZE = 32
FILES = 12


def photograph(seed: int) -> Image.Image:
    """A picture with as much detail as a photograph."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(rough.resize((240, 180), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8))


def encoded(seed: int, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    photograph(seed).save(file, kind, **options)
    return file.getvalue()


def first_scan(jpeg: bytes) -> int:
    """Where the pixels of a JPEG begin."""
    scan = next(s for s in segments(jpeg) if s.code == 0xDA)
    return scan.at + 4 + len(scan.data)


def zeroed(jpeg: bytes, seed: int) -> bytes:
    """With 512 zero bytes somewhere among the pixels."""
    start = int(np.random.default_rng(seed).integers(first_scan(jpeg), len(jpeg) - 514))
    return jpeg[:start] + bytes(512) + jpeg[start + 512 :]


def rotten(png: bytes, seed: int) -> bytes:
    """With three bits of its pixels changed."""
    content = bytearray(png)
    rng = np.random.default_rng(seed)
    for at in rng.integers(png.index(b"IDAT") + 4, len(png) - 16, 3):
        content[at] ^= 1 << rng.integers(8)
    return bytes(content)


@pytest.fixture(scope="module")
def decoders() -> list[Decode]:
    return [FastDecoder(), decode_exact]


@pytest.fixture
def verdicts(decoders: list[Decode], tmp_path: Path) -> Callable[[bytes], str | None]:
    """The reason of both decoders, which is one; None: the file is sound."""

    def verdict(content: bytes) -> str | None:
        path = tmp_path / "x"
        path.write_bytes(content)
        found: set[str | None] = set()
        for decode in decoders:
            try:
                decode(path, SIZE)
                found.add(None)
            except DamagedError as error:
                found.add(str(error))
        (reason,) = found
        return reason

    return verdict


Verdicts = Callable[[bytes], str | None]


def test_every_png_with_changed_pixels_is_told(verdicts: Verdicts) -> None:
    for seed in range(FILES):
        whole = encoded(seed, "PNG")
        assert verdicts(whole) is None
        reason = verdicts(rotten(whole, seed))
        assert reason is not None
        assert reason.endswith("has a wrong checksum (CRC)")
        cut = verdicts(whole[: len(whole) * (40 + seed) // 100])
        assert cut is not None
        assert "truncated" in cut


def test_jpegs_with_a_lost_block_are_told(verdicts: Verdicts) -> None:
    for seed in range(FILES):
        assert verdicts(encoded(seed, "JPEG")) is None
        assert str(verdicts(zeroed(encoded(seed, "JPEG"), seed))).startswith("damaged JPEG: ")


def test_a_lost_block_is_no_detail_of_a_progressive_jpeg() -> None:
    whole = encoded(1, "JPEG", progressive=True, quality=95)
    assert lost_block(whole) is None
    start = next(s.at for s in segments(whole) if s.code == 0xDA and s.data[-3] > 0) + 40
    assert lost_block(whole[:start] + bytes(99) + whole[start + 99 :]) == (start, start + 99)


def test_a_download_that_was_never_finished_is_told(verdicts: Verdicts) -> None:
    """Space was allocated for the whole file, and zero bytes stand for the rest."""
    for seed in range(FILES):
        for options in ({}, {"progressive": True}):
            whole = encoded(seed, "JPEG", **options)
            there = len(whole) * (30 + 5 * seed) // 100
            assert verdicts(whole[:there] + bytes(len(whole) - there)) is not None
            assert verdicts(whole[:there] + bytes(4 * len(whole))) is not None


def test_the_reason_is_libjpegs(verdicts: Verdicts) -> None:
    whole = encoded(1, "JPEG")
    start = first_scan(whole)
    assert verdicts(whole[:start] + whole[start + 300 :]) in (
        "damaged JPEG: Corrupt JPEG data: premature end of data segment",
        "damaged JPEG: Corrupt JPEG data: bad Huffman code",
    )
    assert "extraneous bytes before marker 0xd9" in str(
        verdicts(whole[:-2] + b"\x5a" * 20 + whole[-2:])
    )
    assert verdicts(whole[: len(whole) // 2]) == (
        "damaged JPEG: truncated: Premature end of JPEG file"
    )


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_harmless_ends_pass_with_all_pixels(
    options: dict[str, object], decoders: list[Decode], tmp_path: Path
) -> None:
    whole = encoded(2, "JPEG", quality=90, **options)
    path = tmp_path / "x.jpg"
    path.write_bytes(whole)
    exact = decode_exact(path, SIZE)
    for content in (
        whole[:-2],
        whole[:-1],
        whole + whole[:500],
        whole + bytes(4096),
        whole[:-2] + bytes(37) + whole[-2:],
        whole[:-2] + bytes(400) + whole[-2:],
        whole[:-2] + bytes(400),
        whole[:-2] + b"\xff" * 9 + whole[-2:],
    ):
        path.write_bytes(content)
        for decode in decoders:
            assert np.abs(decode(path, SIZE).astype(int) - exact).max() <= 3


def test_a_progressive_jpeg_cut_between_scans_lacks_pixels(verdicts: Verdicts) -> None:
    whole = encoded(3, "JPEG", progressive=True)
    scans = [segment.at for segment in segments(whole) if segment.code == 0xDA]
    assert has_all_scans(whole)
    for at in scans[1:]:
        assert not has_all_scans(whole[:at])
        assert "truncated" in str(verdicts(whole[:at]))
    arithmetic = whole.replace(b"\xff\xc2", b"\xff\xca")
    assert not has_all_scans(arithmetic)  # nobody can tell


def test_libjpeg_is_never_given_a_lossless_jpeg(
    decoders: list[Decode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reduced, it writes more pixels than fit, which ends the process."""
    (tmp_path / "x").write_bytes(encoded(8, "JPEG").replace(b"\xff\xc0", b"\xff\xc3"))
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: pytest.fail("given"))
    for decode in decoders:
        with pytest.raises(ImageError, match=r"^is a lossless JPEG, which is not read$"):
            decode(tmp_path / "x", SIZE)


def test_colours_of_a_quarter_of_the_height_pass(decoders: list[Decode], tmp_path: Path) -> None:
    """Subsampling 4:4:1, made of 4:1:1: a unit has the same blocks, in another order."""
    pixels = np.asarray(photograph(9).resize((64, 64)))
    jpeg = bytearray(simplejpeg.encode_jpeg(pixels.copy(), colorsubsampling="411"))
    jpeg[jpeg.index(b"\xff\xc0") + 11] = 0x14
    (tmp_path / "x").write_bytes(jpeg)
    fast, exact = (decode(tmp_path / "x", SIZE) for decode in decoders)
    assert np.abs(fast.astype(int) - exact).max() <= 3


def test_odd_metadata_are_no_damage(verdicts: Verdicts) -> None:
    whole = encoded(4, "JPEG")
    revision = whole.index(b"JFIF\0") + 5
    assert verdicts(whole[:revision] + b"\x09" + whole[revision + 1 :]) is None
    scan = first_scan(whole)  # some cameras write zeros for the last three bytes of its header
    assert verdicts(whole[: scan - 3] + bytes(3) + whole[scan:]) is None
    app2 = b"\xff\xe2" + struct.pack(">H", 500) + b"ICC_PROFILE\0\x01\x07" + bytes(484)
    assert verdicts(whole[:2] + app2 + whole[2:]) is None


def test_a_plain_picture_is_no_lost_block(verdicts: Verdicts) -> None:
    for mode, colour in (("L", 0), ("L", 128), ("RGB", (128, 128, 128)), ("RGB", (9, 70, 200))):
        for options in ({}, {"optimize": True}, {"progressive": True}):
            file = io.BytesIO()
            Image.new(mode, (1600, 1600), colour).save(file, "JPEG", **options)
            assert verdicts(file.getvalue()) is None


def test_a_damaged_chunk_of_a_png_is_named(verdicts: Verdicts) -> None:
    whole = encoded(5, "PNG")

    def chunk(name: bytes, data: bytes, wrong: int = 0) -> bytes:
        crc = zlib.crc32(name + data) ^ wrong
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header, pixels = whole[:33], whole[33:]
    assert verdicts(header + chunk(b"tEXt", b"a\0b") + pixels) is None
    assert verdicts(header + chunk(b"gAMA", bytes(4)) + pixels + b"what a phone adds") is None
    assert verdicts(pixels := whole[:-12]) is None  # without its end
    end = whole[-12:]
    assert verdicts(pixels + chunk(b"tEXt", b"a\0b", wrong=1) + end) == (
        f"damaged PNG: chunk tEXt at byte {len(pixels)} has a wrong checksum (CRC)"
    )
    assert "no chunk begins at byte" in str(verdicts(pixels + bytes(16)))


def png(width: int, height: int, colours: int, rows: bytes, interlaced: int = 0) -> bytes:
    """A PNG of 8 bits per sample with sound chunks, whatever its ``rows`` are."""
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, interlaced)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return SIGNATURE + b"".join(png_block(*chunk) for chunk in chunks)


def test_a_png_whose_pixels_end_early_is_told(verdicts: Verdicts) -> None:
    rows = b"".join(b"\0" + bytes([50 + row]) * 15 for row in range(8))
    reason = "damaged PNG: its pixels end before the last row"
    assert verdicts(png(5, 8, 2, rows)) is None
    assert verdicts(png(5, 8, 2, rows + bytes(99))) is None
    assert verdicts(png(5, 8, 2, bytes(8 * 16))) is None  # all black
    assert verdicts(png(5, 8, 2, rows[:-16])) == reason
    assert verdicts(png(5, 8, 2, rows[:32])) == reason
    # width and height of each pass of an interlaced image
    passes = [(1, 1), (1, 1), (2, 1), (1, 2), (3, 2), (2, 4), (5, 4)]
    whole = b"".join((b"\0" + b"\x99" * width) * height for width, height in passes)
    assert verdicts(png(5, 8, 0, whole, interlaced=1)) is None
    assert verdicts(png(5, 8, 0, whole[:-6], interlaced=1)) == reason


def test_a_header_that_png_does_not_have_is_told(decoders: list[Decode], tmp_path: Path) -> None:
    for content, reason in {
        png(0, 8, 2, b""): "its header says 0 x 8 pixels",
        png(5, 8, 5, b""): "its header says colour type 5 with 8 bits, which do not exist",
        png(5, 8, 3, bytes(48)): "no palette (chunk PLTE) comes before its pixels",
        SIGNATURE + png_block(b"IHDR", b"short"): "its header has 5 bytes, not 13",
        SIGNATURE + png_block(b"CgBI", bytes(4)): "its first chunk is CgBI, not IHDR, as Apple",
    }.items():
        (tmp_path / "x.png").write_bytes(content)
        for decode in decoders:
            with pytest.raises(ImageError) as refused:
                decode(tmp_path / "x.png", SIZE)
            assert str(refused.value).startswith(f"damaged PNG: {reason}")


def test_a_long_history_in_a_png_is_no_damage(verdicts: Verdicts) -> None:
    whole = encoded(5, "PNG")
    text = b"history\0\0" + zlib.compress(b"layer " * 500_000)
    assert verdicts(whole[:33] + png_block(b"zTXt", text) + whole[33:]) is None


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_libtiff_tells_the_reason_and_not_the_terminal(
    compression: str, verdicts: Verdicts, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = encoded(6, "TIFF", compression=compression)
    lost = bytes(500) if compression == "tiff_lzw" else b"\xee" * 500
    reason = verdicts(whole[:3000] + lost + whole[3500:])
    assert str(reason).startswith("cannot be decoded: decoder error -2: ")
    assert "at scanline" in str(reason) or "LZW" in str(reason) or "code" in str(reason)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM"])
def test_sound_files_of_other_formats_pass(kind: str, verdicts: Verdicts) -> None:
    assert verdicts(encoded(7, kind)) is None


def test_a_file_of_another_format_is_left_to_its_decoder() -> None:
    assert sound(b"GIF89a and so on") == b"GIF89a and so on"


@pytest.mark.images
def test_photographs_are_sound(shared_images: Path) -> None:
    paths = sorted(shared_images.glob("*/**/*.jp*g"))
    assert len(paths) > 1000
    for path in paths:
        content = path.read_bytes()
        assert sound(content) == content, path
