"""Small ICC profiles made by the tests (ICC.1:2001, version 2), and colour arithmetic without one.

Linear RGB profiles are three colorants and a gamma, grey ones a gamma, and that of inks a table of
the 16 combinations of full inks.
"""

import struct
from itertools import product

import numpy as np
import numpy.typing as npt

WHITE = (0.9642, 1.0, 0.8249)
"""D50, XYZ."""
SRGB = np.array(
    [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
)  # fmt: skip
"""Colorants of sRGB in columns, adapted to D50."""
ADOBE = np.array(
    [[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]]
)  # fmt: skip
"""Those of Adobe RGB (1998)."""
INKS = {inks: 100.0 * (1 - inks[3]) * (1 - sum(inks[:3]) / 4) for inks in product((0, 1), repeat=4)}
"""Lightness of each combination of cyan, magenta, yellow and black; all are neutral."""


def rgb_profile(colorants: npt.NDArray[np.float64] = ADOBE, gamma: float = 2.2) -> bytes:
    """A profile of RGB by its ``colorants``, XYZ in columns, and ``gamma``."""
    tags = {f"{c}XYZ": _xyz(colorants[:, i]) for i, c in enumerate("rgb")}
    return profile("RGB ", tags | {f"{c}TRC": _gamma(gamma) for c in "rgb"})


def grey_profile(gamma: float) -> bytes:
    """A profile of grey."""
    return profile("GRAY", {"kTRC": _gamma(gamma)})


def ink_profile() -> bytes:
    """A profile of CMYK with the lightnesses of :data:`INKS`."""
    identity = bytes(range(256))
    table = b"".join(bytes([round(INKS[inks] * 2.55), 128, 128]) for inks in INKS)
    matrix = struct.pack(">9i", *(np.eye(3).ravel() * 65536).astype(int))
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    return profile(
        "CMYK", {"A2B0": head + matrix + identity * 4 + table + identity * 3}, "prtr", "Lab "
    )


def profile(space: str, tags: dict[str, bytes], kind: str = "mntr", pcs: str = "XYZ ") -> bytes:
    """A profile of ``space`` with ``tags``, and what every profile has."""
    name = b"of the tests\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(4 + 4 + 2 + 1 + 67)
    tags = {"desc": described, "cprt": b"text" + bytes(4) + b"none\0", "wtpt": _xyz(WHITE)} | tags
    directory, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        directory += tag.encode() + struct.pack(">II", start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = struct.pack(">I", start + len(content))
    head = size + bytes(4) + b"\x02\x40\0\0" + (kind + space + pcs).encode() + bytes(12) + b"acsp"
    light = struct.pack(">3i", *(round(value * 65536) for value in WHITE))
    return (head + bytes(28) + light).ljust(128, b"\0") + directory + content


def to_srgb(
    pixels: npt.NDArray[np.uint8], colorants: npt.NDArray[np.float64] = ADOBE, gamma: float = 2.2
) -> npt.NDArray[np.float64]:
    """What :func:`rgb_profile` says that ``pixels``, (..., 3), are in sRGB, 0 to 255."""
    light = (pixels / 255) ** gamma @ (np.linalg.inv(SRGB) @ colorants).T
    return encoded(light)


def encoded(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear light as sRGB, 0 to 255 (IEC 61966-2-1)."""
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def lightness_to_srgb(lightness: float) -> float:
    """The grey of a CIE ``lightness``, 0 to 100, as sRGB."""
    y = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
    return float(encoded(np.array(y)))


def _xyz(value: npt.ArrayLike) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in np.array(value)))


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
