"""A file that is no usable image is told by what it is."""

import io
import logging
import struct
from pathlib import Path

import pytest
from PIL import Image

from tests.dataset.nasty import picture, save
from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.image_file import ImageError, NoImageError, open_image
from weather_hpc.preprocess.decoders import decode_exact

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
JPEG_START = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


def frame(code: int, bits: int = 8, height: int = 16) -> bytes:
    """A JPEG that ends after a frame header (ITU-T T.81, B.2.2)."""
    header = struct.pack(">BHHB", bits, height, 16, 1) + b"\1\x11\0"
    return JPEG_START + bytes((0xFF, code)) + struct.pack(">H", 2 + len(header)) + header


def boxes(brand: bytes, *more: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(more)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(100)


NO_IMAGES = {
    "<!DOCTYPE html>\n<html><title>404 Not\nFound</title>": 'a web page (HTML, "404 Not Found")',
    "\ufeff\n<!-- saved --><HTML lang=en><body>": "a web page (HTML)",
    XML + "<!DOCTYPE html PUBLIC><html>": "a web page (HTML)",
    XML + "<Error><Code>NoSuchKey</Code>": 'an error message of an object store, "NoSuchKey"',
    XML + '<svg xmlns="http://www.w3.org/2000/svg">': "an SVG drawing",
    "<svg width='3'/>": "an SVG drawing",
    XML + "<annotation><folder>": 'an XML document, "annotation"',
    '{"error": {"message": "Rate limit exceeded"}}': 'a JSON document, "Rate limit exceeded"',
    '[{"id": 3}]': "a JSON document",
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n": "a Git LFS pointer",
    "../../.git/annex/objects/W1/a.jpg": "a git-annex pointer",
    "outs:\n- md5: 00\n  path: a.jpg\n": "a DVC pointer",
    "data:image/jpeg;base64,/9j/4AAQ": "an image in base64 text",
    "/9j/4AAQSkZJRgABAQAAAQABAAD": "an image in base64 text",
    "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n": "a web server's answer",
    "frost is cold": 'text, "frost is cold"',
    'a "b"\x1b[31mred\\n': 'text, "a �b��[31mred�n"',
    "BM25 ranks documents": 'text, "BM25 ranks documents"',
    "P1 and P2 are phases": 'text, "P1 and P2 are phases"',
    b"%PDF-1.7": "a PDF document", b"PK\3\4": "a ZIP archive", b"\x1f\x8b\x08": "gzip-compressed",
    boxes(b"isom", b"mp41"): "an MP4 video", boxes(b"qt  "): "a QuickTime video",
    b"RIFF\0\0\0\0AVI LIST": "an AVI video", b"\x1a\x45\xdf\xa3": "a Matroska or WebM video",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file", b"\x93NUMPY": "a NumPy array",
    b"SQLite format 3\0": "an SQLite database", bytes(600): "nothing but zero bytes",
    bytes(257) + b"ustar": "a tar archive", b"\x7fELF": "a Linux program",
    b"\x9c\x01\xfe\0\x8a" * 30: "of no known format", b"": "empty",
    "[ViewState]\nMode=": 'text, "[ViewState]"', "{\\rtf1\\ansi": "an RTF document",
    "\n\n%PDF-1.4\n": "a PDF document", "<br />\n<b>Warning</b>: ": "a web page (HTML)",
    "md5: 0a\nouts:\n- path: a.jpg\n": "a DVC pointer", b"bplist00\xd4": "a property list",
    b"\r\n" + frame(0xC0): "of no known format, with a JPEG from byte 2 on",
    b"HTTP/1.1 200 OK\r\n\r\n" + frame(0xC0): "a web server's answer with its header",
    bytes(4096) + b"\x9c\x01": "without its beginning: zero bytes stand for the first 4096",
    b"\x08\x07\x12\x07pytorch": "of no known format",
}  # fmt: skip

IMAGES = {
    frame(0xC1, bits=12): "is a JPEG of 12 bits per sample, which is not read",
    frame(0xC0, height=0): "is a JPEG of height 0",
    frame(0xF7): "is a JPEG-LS image, which is not read",
    b"8BPS\0\1": "is a Photoshop document, which is not read",
    boxes(b"crx "): "is a camera's raw file (Canon CR3), which is not read",
    b"FUJIFILMCCD-RAW 0201": "is a camera's raw file (Fujifilm RAF), which is not read",
    b"II*\0\x10\0\0\0CR\2\0": "is a camera's raw file (Canon CR2), which is not read",
    b"II\xbc\1\x08\0\0\0": "is a JPEG XR image, which is not read",
    b"v/1\1\2\0\0\0": "is an OpenEXR image, which is not read",
    bytes(128) + b"DICM": "is a DICOM image, which is not read",
    b"RIFF\xff\xff\0\0WEBPVP8 ": "damaged WEBP: truncated: 16 of 65543 bytes",
    b"II*\0\xff\xff\xff\0": "damaged TIFF: truncated: its directory is at byte 16777215 of 8",
    b"\xff\xd8\xff\xe0\0\x10JFIF": "damaged JPEG: it ends before its frame header",
    b"\x89PNG\n\x1a\n\0\0": "is what is left of a PNG that was read and written as text",
    "\ufffd\ufffd\ufffd\ufffd\0\x10JFIF".encode(): "is what is left of a JPEG that was read and",
    b"GIF89a": "damaged or unusual GIF header: ",
    b"\x89PNG\r\n\x1a\nIDAT" + bytes(30): "damaged PNG: ",
}  # fmt: skip


def refusal(content: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(io.BytesIO(content))
    return caught.value


@pytest.mark.parametrize("content", NO_IMAGES)
def test_what_is_no_image_is_told_by_what_it_is(content: str | bytes) -> None:
    error = refusal(content.encode() if isinstance(content, str) else content)
    assert str(error).startswith(f"is {NO_IMAGES[content]}")
    assert str(error).endswith(", not an image")
    assert isinstance(error, NoImageError)


@pytest.mark.parametrize("content", IMAGES)
def test_an_image_that_cannot_be_used_is_told_by_its_format(content: bytes) -> None:
    error = refusal(content)
    assert str(error).startswith(IMAGES[content])
    assert not isinstance(error, NoImageError)


def test_a_lossless_jpeg_is_told_when_it_cannot_be_decoded(tmp_path: Path) -> None:
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(20) + b"\xff\xd9"
    (tmp_path / "x.jpg").write_bytes(frame(0xC3) + scan)
    with pytest.raises(ImageError, match=r"^is a lossless JPEG, which is not read$"):
        decode_exact(tmp_path / "x.jpg", 16)


def test_what_pillow_logs_stays_off_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own
    picture(1).save(tmp_path / "x.tif")
    content = (tmp_path / "x.tif").read_bytes()
    samples = struct.pack("<HHIHH", 277, 3, 1, 3, 0)
    refusal(content.replace(samples, samples[:-4] + struct.pack("<HH", 2048, 0)))
    assert capfd.readouterr().err == ""


def test_a_camera_s_raw_file_is_not_its_preview(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "x.tif", tiffinfo={50706: b"\1\4\0\0"})  # DNGVersion
    with pytest.raises(ImageError, match="raw file"):
        decode_exact(tmp_path / "x.tif", 16)


@pytest.mark.parametrize(
    ("module", "package", "name", "form"),
    [
        ("pillow_heif", "pillow-heif", "x.heic", "HEIF"),
        ("pillow_jxl", "pillow-jxl-plugin", "x.jxl", "JXL"),
    ],
)
def test_a_plugin_s_format_is_read_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, package: str, name: str, form: str
) -> None:
    plugin = pytest.importorskip(module)
    if form == "HEIF":
        plugin.register_heif_opener()
    save(tmp_path / "a" / "x.jpg", 1)
    picture(1).save(tmp_path / "a" / name, quality=95)
    monkeypatch.delitem(Image.OPEN, form)
    monkeypatch.setattr("weather_hpc.dataset.image_file._register", lambda _: None)
    (refused,) = scan(tmp_path).quarantine
    assert refused.reason.endswith(f"which needs a plugin: pip install {package}")
    monkeypatch.undo()
    assert {item.format for item in scan(tmp_path).items} == {"JPEG", form}
    ours = decode_exact(tmp_path / "a" / name, 16).astype(int)
    assert abs(ours - decode_exact(tmp_path / "a" / "x.jpg", 16)).mean() < 4
