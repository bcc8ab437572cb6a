"""What a file is that no decoder takes: a web page, a video, an archive, a rare kind of image.

Folders of images from the Web or from phones hold all of these under names such as ``1.jpg``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from weather_hpc.dataset.jpeg_file import JPEG, frame_of, jpeg_kind
from weather_hpc.dataset.png_file import SIGNATURE, png_damage

HEAD = 4096
"""Bytes from the beginning of a file that its kind is told from."""
ZEROS = 512
"""Bytes of a sector of a disk: so many that are zero are none of a header."""


class Plugin(NamedTuple):
    """A package that teaches Pillow a format: its name on PyPI and that of its module."""

    package: str
    module: str


@dataclass(frozen=True)
class FileKind:
    """A kind of file: ``name`` completes "is ...". ``image``: it is some kind of image."""

    name: str
    image: bool = False
    format: str = ""
    """Pillow's name of the format, where that is read."""
    plugin: Plugin | None = None
    """What reads it if Pillow alone does not."""
    damage: str | None = None
    """What is wrong with this file."""

    def refusal(self, words: str = "") -> str:
        """Why such a file cannot be used. ``words``: what its decoder says."""
        if self.damage:
            return f"damaged {self.format}: {self.damage}"
        if words and self.format:
            return f"damaged or unusual {self.format} header: {words}"
        if self.plugin:
            return f"is {self.name}, which needs a plugin: pip install {self.plugin.package}"
        return f"is {self.name}, " + ("which is not read" if self.image else "not an image")


# Formats that are read, by how their files begin.
_READ = {
    b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF",
    b"MM\0+": "TIFF", b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000", b"\xff\x4f\xff\x51": "JPEG2000",
}  # fmt: skip

_IMAGES = {
    b"8BPS": "a Photoshop document", b"gimp xcf": "a GIMP image",
    b"FUJIFILMCCD-RAW": "a camera's raw file (Fujifilm RAF)",
    b"IIRO": "a camera's raw file (Olympus ORF)", b"IIRS": "a camera's raw file (Olympus ORF)",
    b"MMOR": "a camera's raw file (Olympus ORF)", b"IIU\0": "a camera's raw file (Panasonic RW2)",
    b"\0MRM": "a camera's raw file (Minolta MRW)", b"FOVb": "a camera's raw file (Sigma X3F)",
    b"II*\0\x10\0\0\0CR": "a camera's raw file (Canon CR2)",
    b"II\xbc\1": "a JPEG XR image",
    b"\x8aMNG": "an MNG animation", b"\x8bJNG": "a JNG image", b"qoif": "a QOI image",
    b"FLIF": "a FLIF image", b"BPG\xfb": "a BPG image", b"v/1\1": "an OpenEXR image",
    b"#?R": "a Radiance HDR image", b"DDS ": "a DirectDraw surface",
    b"\0\0\1\0": "a Windows icon", b"icns": "an Apple icon", b"SIMPLE  =": "a FITS image",
    b"\xd7\xcd\xc6\x9a": "a Windows metafile", b"AT&TFORM": "a DjVu document",
    b"\n\5\1": "a PCX image",
}  # fmt: skip
_OTHERS = {
    b"%PDF": "a PDF document", b"%!PS": "a PostScript document",
    b"\xc5\xd0\xd3\xc6": "a PostScript document", b"PK\3\4": "a ZIP archive",
    b"PK\5\6": "an empty ZIP archive", b"\x1f\x8b": "gzip-compressed", b"BZh": "bzip2-compressed",
    b"\xfd7zXZ\0": "xz-compressed", b"\x28\xb5\x2f\xfd": "Zstandard-compressed",
    b"\4\x22\x4d\x18": "LZ4-compressed", b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive", b"\x1a\x45\xdf\xa3": "a Matroska or WebM video",
    b"FLV": "a Flash video", b"\0\0\1\xba": "an MPEG video", b"\0\0\1\xb3": "an MPEG video",
    b"OggS": "an Ogg recording", b"ID3": "an MP3 recording", b"fLaC": "a FLAC recording",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Office document or a Windows thumbnail cache",
    b"SQLite format 3": "an SQLite database", b"\x89HDF\r\n": "an HDF5 file",
    b"CDF\1": "a NetCDF file", b"CDF\2": "a NetCDF file", b"\x93NUMPY": "a NumPy array",
    b"GRIB": "a GRIB file", b"MATLAB 5.0": "a MATLAB file", b"\x7fELF": "a Linux program",
    b"MZ": "a Windows program", b"\0\5\x16\7": "an AppleDouble file (metadata of macOS)",
    b"\0\0\0\1Bud1": "a Finder folder description (.DS_Store)",
    b"L\0\0\0\1\x14\2\0": "a Windows shortcut", b"\x80\2": "a Python pickle",
    b"\x80\4\x95": "a Python pickle", b"\x80\5\x95": "a Python pickle", b"wOF": "a font",
    b"-----BEGIN PGP": "encrypted", b"Salted__": "encrypted (OpenSSL)",
    b"{\\rtf": "an RTF document", b"bplist00": "a property list of macOS",
    b"PAR1": "a Parquet file",
}  # fmt: skip
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")

_TEXTS = {
    rb"%PDF": "a PDF document",
    rb"version https://git-lfs": "a Git LFS pointer (git lfs pull fetches the file itself)",
    rb"(\.\./)*\.git/annex/|/annex/objects/": "a git-annex pointer (git annex get fetches the file "
    "itself)",
    rb"(md5: .*\s+)?outs:\s": "a DVC pointer (dvc pull fetches the file itself)",
    rb"data:image/|/9j/|iVBORw0KGgo|R0lGOD|UklGR": "an image in base64 text",
    rb"\[InternetShortcut\]": "a Windows shortcut",
    rb"HTTP/\d": "a web server's answer with its header",
    rb"(MIME-Version|From): ": "a saved e-mail or web archive",
    rb"--.*\s+Content-Disposition:": "a form as a browser sends it",
    rb"<svg": "an SVG drawing",
    rb"<rss|<feed": "a news feed",
}
"""Regular expressions for the beginning of a text."""
_UNLIKE_TEXT = re.compile(rb"[\0-\x06\x0e-\x1a\x1c-\x1f]")
"""Control characters that no text has."""
_CONVERTED = {
    b"\x89PNG": "a PNG", b"\xc2\x89PNG": "a PNG", b"\xef\xbf\xbdPNG": "a PNG",
    "\xff\xd8\xff".encode(): "a JPEG", "\ufffd\ufffd\ufffd".encode(): "a JPEG",
}  # fmt: skip
"""How images begin that were taken for text: with other line ends, or as UTF-8."""
_LINE = rb"([^\r\n]+)"


def kind_of(content: bytes, size: int) -> FileKind:
    """The kind of a file of ``size`` bytes that begins with ``content``."""
    if not content:
        return FileKind("empty")
    if content.startswith(SIGNATURE):
        return _read("PNG", png_damage(content))
    if content.startswith(JPEG[:2]):
        unread = jpeg_kind(content)
        return FileKind(unread, image=True) if unread else _read("JPEG", _jpeg_damage(content))
    for start, name in _IMAGES.items():
        if content.startswith(start):
            return FileKind(name, image=True)
    if content[6:14] == b"HEAPCCDR":
        return FileKind("a camera's raw file (Canon CRW)", image=True)
    if content.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        plugin = Plugin("pillow-jxl-plugin", "pillow_jxl")
        return FileKind("a JPEG XL image", image=True, format="JXL", plugin=plugin)
    if content[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"pnot"):
        return _media(content)
    if content.startswith(b"RIFF"):
        return _riff(content, size)
    for start, name in _READ.items():
        if content.startswith(start):
            return _read(name, _tiff_damage(content, size) if name == "TIFF" else None)
    if content.startswith(b"BM") and b"\0" in content[:HEAD]:
        return _read("BMP")
    if re.match(rb"P[1-6]\s+(#.*\s+)*\d", content):
        return _read("PPM")
    for start, name in _OTHERS.items():
        if content.startswith(start):
            return FileKind(name)
    if content[128:132] == b"DICM":
        return FileKind("a DICOM image", image=True)
    if content[257:262] == b"ustar":
        return FileKind("a tar archive")
    if content[0] == 0x47 and content[188:189] == content[376:377] == b"G":
        return FileKind("an MPEG transport stream")
    if zeros := len(content) - len(content.lstrip(b"\0")):
        if zeros == len(content):
            return FileKind("nothing but zero bytes, as of a file that was never written")
        if zeros >= ZEROS:
            return FileKind(f"without its beginning: zero bytes stand for the first {zeros}")
    return _text(content[:HEAD])


def raw_kind(tags: Mapping[int, Any]) -> FileKind | None:
    """A camera's raw file, by the tags of its first page as a TIFF, which is a small preview."""
    subfiles, reduced, dng = 330, 254, 50706
    if dng in tags or (subfiles in tags and tags.get(reduced) == 1):
        return FileKind("a camera's raw file (DNG, NEF or ARW)", image=True)
    return None


def _read(name: str, damage: str | None = None) -> FileKind:
    """A format that is read."""
    return FileKind(name, image=True, format=name, damage=damage)


def _media(content: bytes) -> FileKind:
    """A file of boxes (ISO/IEC 14496-12), by its brands."""
    major, length = content[8:12], int.from_bytes(content[:4])
    brands = {major} | {content[at : at + 4] for at in range(16, min(length, 256), 4)}
    if content[4:8] != b"ftyp":
        return FileKind("a QuickTime video")
    if major == b"crx ":
        return FileKind("a camera's raw file (Canon CR3)", image=True)
    if brands & {b"avif", b"avis"}:
        plugin = Plugin("pillow-avif-plugin", "pillow_avif")
        return FileKind("an AVIF image", image=True, format="AVIF", plugin=plugin)
    if major in _HEIC or brands & {b"heic", b"heix"}:
        plugin = Plugin("pillow-heif", "pillow_heif")
        return FileKind("an HEIC image", image=True, format="HEIF", plugin=plugin)
    if major in (b"M4A ", b"M4B "):
        return FileKind("an audio recording (MP4)")
    return FileKind("a QuickTime video" if major == b"qt  " else "an MP4 video")


def _jpeg_damage(content: bytes) -> str | None:
    frame = frame_of(content)
    if frame is None:
        return "it ends before its frame header, or has none"
    return None if frame.width else "its frame header says a width of 0"


def _tiff_damage(content: bytes, size: int) -> str | None:
    order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"
    big = content[2:4] in (b"+\0", b"\0+")
    start = int.from_bytes(content[8:16] if big else content[4:8], order)
    return f"truncated: its directory is at byte {start} of {size}" if start >= size else None


def _riff(content: bytes, size: int) -> FileKind:
    form, whole = content[8:12], 8 + int.from_bytes(content[4:8], "little")
    if form == b"WEBP":
        return _read("WEBP", f"truncated: {size} of {whole} bytes" if size < whole else None)
    return FileKind({b"AVI ": "an AVI video", b"WAVE": "a WAV recording"}.get(form, "a RIFF file"))


def _text(head: bytes) -> FileKind:
    """Text, or bytes of an unknown kind."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head[2:].replace(b"\0", b"")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    markup = re.sub(rb"^(<\?xml.*?\?>|<!--.*?-->|\s)+", b"", text, flags=re.DOTALL)
    if re.match(rb"<!doctype\s+html|<(html|head|body|script|title|meta|div|p|h\d|center|br|b|"
                rb"pre|span|table|font|style|a|ul|form)\b", markup, re.IGNORECASE):  # fmt: skip
        title = _quoted(rb"<title[^>]*>([^<]*)", text)
        return FileKind(f"a web page (HTML{title})")
    for start, name in _TEXTS.items():
        if re.match(start, markup, re.IGNORECASE):
            return FileKind(name)
    if _UNLIKE_TEXT.search(text):
        return _unknown(head)
    if re.match(rb"<!doctype\s+svg", markup, re.IGNORECASE) or b"<svg" in markup[:1024]:
        return FileKind("an SVG drawing")
    if re.match(rb"<Error\b", markup):
        return FileKind(f"an error message of an object store{_quoted(rb'<Code>([^<]*)', text)}")
    if markup.startswith(b"<"):
        return FileKind(f"an XML document{_quoted(rb'<([A-Za-z][^ />]*)', markup)}")
    if re.match(rb'\{\s*["}]|\[\s*(["{\[\]\d-]|true|false|null)', text):
        pattern = rb'"(?:message|error|detail|code)"\s*:\s*"([^"]*)"'
        return FileKind(f"a JSON document{_quoted(pattern, text)}")
    try:
        text[:-4].decode("utf-8") if len(head) == HEAD else text.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(text) // 2:
            return _unknown(head)
    return FileKind(f"text{_quoted(_LINE, text)}")


def _unknown(head: bytes) -> FileKind:
    """Bytes of an unknown kind, perhaps with an image in them."""
    for start, name in _CONVERTED.items():
        if head.startswith(start):
            return FileKind(f"what is left of {name} that was read and written as text", image=True)
    for start, name in ((JPEG, "a JPEG"), (SIGNATURE, "a PNG")):
        if (at := head.find(start)) > 0:
            return FileKind(f"of no known format, with {name} from byte {at} on")
    return FileKind("of no known format")


def _quoted(pattern: bytes, text: bytes) -> str:
    """What the pattern's group finds, as ``, "found"``; empty where there is none."""
    found = re.search(pattern, text, re.IGNORECASE)
    words = " ".join(found[1].decode("utf-8", "replace").split()) if found else ""
    shown = "".join(c if c.isprintable() and c not in '"\\' else "�" for c in words[:60])
    return f', "{shown}"' if shown else ""
