"""Image folders made by the tests: plain ones, and one with the odd files of real folders."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A smooth random picture: different for every seed, and nearly kept by JPEG."""
    rough = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).convert(mode)


def save(path: Path, seed: int, **options: object) -> Path:
    """A picture at ``path``, as JPEG unless ``format`` says otherwise; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode, size = str(options.pop("mode", "RGB")), options.pop("size", (48, 32))
    assert isinstance(size, tuple)
    picture(seed, size, mode).save(path, **({"format": "JPEG"} | options))  # type: ignore[arg-type]
    return path


def plain_folder(root: Path, per_class: int = 4, classes: str = "abc") -> Path:
    """``per_class`` good images in each class, all of different content."""
    for label, name in enumerate(classes):
        for number in range(per_class):
            save(root / name / f"{number:03}.jpg", label * 1000 + number)
    return root


def png_block(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_claim() -> bytes:
    """A PNG of a few bytes that says it is 60,000 x 60,000."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_block(b"IHDR", header)
        + png_block(b"IDAT", zlib.compress(b"\0" * 64))
        + png_block(b"IEND", b"")
    )


USABLE = {
    "frost/alpha.jpg": "PNG",
    "frost/animated.jpg": "GIF",
    "frost/cmyk.jpg": "JPEG",
    "frost/deep.png": "PNG",
    "frost/grey.jpg": "JPEG",
    "frost/no_suffix": "JPEG",
    "frost/palette.png": "PNG",
    "frost/sub/deeper/nested.jpg": "JPEG",
    "frost/trailing.jpg": "JPEG",
    "frost/turned.jpg": "JPEG",
    "rain/copy.jpg": "JPEG",
    "rain/line\nbreak.jpg": "JPEG",
    "rain/original.jpg": "JPEG",
    "rain/truncated.jpg": "JPEG",
    os.fsdecode(b'rain/\xff\xfe,"quoted".jpg'): "JPEG",
}
"""The usable images of the nasty folder, with the format of their content."""

QUARANTINED = {
    "empty_class": "class folder is empty",
    "frost/bomb.png": "more than",
    "frost/empty.jpg": "empty file",
    "frost/loop": "link to a folder already read",
    "frost/notes.txt": "not an image",
    "frost/page.jpg": "not an image",
    "frost/pipe.jpg": "is no regular file",
    "readme.txt": "lies outside the class folders",
    "snow/same_as_rain.jpg": "same content as rain/copy.jpg, under another class",
    "snow/dangling.jpg": "cannot be read: No such file",
    "snow/self.jpg": "cannot be read: Too many levels of symbolic links",
}
"""What is left out, with a part of the reason."""


def nasty_folder(root: Path) -> Path:
    """A folder with everything in USABLE and QUARANTINED, hidden files, and a third class."""
    frost, rain, snow = root / "frost", root / "rain", root / "snow"
    save(frost / "alpha.jpg", 1, mode="RGBA", format="PNG")
    save(frost / "animated.jpg", 2, format="GIF", save_all=True, append_images=[picture(3)])
    save(frost / "cmyk.jpg", 4, mode="CMYK")
    Image.fromarray(np.full((20, 20), 40_000, dtype=np.uint16)).save(frost / "deep.png")
    save(frost / "grey.jpg", 5, mode="L")
    save(frost / "no_suffix", 6)
    save(frost / "palette.png", 7, mode="P", format="PNG")
    save(frost / "sub/deeper/nested.jpg", 8)
    with save(frost / "trailing.jpg", 9).open("ab") as file:
        file.write(b"what a camera adds" * 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(frost / "turned.jpg", 10, exif=exif)
    whole = save(rain / "original.jpg", 11).read_bytes()
    (rain / "copy.jpg").write_bytes(whole)
    save(rain / "line\nbreak.jpg", 12)
    save(root / os.fsdecode(b'rain/\xff\xfe,"quoted".jpg'), 13)
    (rain / "truncated.jpg").write_bytes(save(rain / "t", 14, size=(300, 300)).read_bytes()[:2500])
    (rain / "t").unlink()

    (root / "empty_class").mkdir()
    (frost / "bomb.png").write_bytes(huge_claim())
    (frost / "empty.jpg").touch()
    (frost / "loop").symlink_to(frost, target_is_directory=True)
    (frost / "notes.txt").write_text("frost is cold")
    (frost / "page.jpg").write_text("<html>404</html>")
    os.mkfifo(frost / "pipe.jpg")
    (root / "readme.txt").write_text("photographs")
    save(snow / "sound.jpg", 15)
    (snow / "same_as_rain.jpg").write_bytes(whole)
    (snow / "dangling.jpg").symlink_to("nowhere")
    (snow / "self.jpg").symlink_to("self.jpg")
    (frost / ".hidden.jpg").write_bytes(whole)
    (root / ".git").mkdir()
    save(root / ".git" / "kept.jpg", 16)
    return root
