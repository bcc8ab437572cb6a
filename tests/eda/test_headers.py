from pathlib import Path

from tests.dataset.nasty import nasty_folder, picture
from tests.preprocess import icc
from weather_hpc.dataset.catalogue import scan
from weather_hpc.eda.headers import (
    FileBatch,
    FileHeader,
    HeaderCounts,
    file_batches,
    read_headers,
)


def headers_of(root: Path) -> dict[str, FileHeader]:
    items = scan(root).items
    parts = file_batches(root, [item.path for item in items], [item.label for item in items])
    return {header.path: header for part in parts for header in read_headers(part)}


def test_a_damaged_later_page_does_not_cost_the_header(tmp_path: Path) -> None:
    file = tmp_path / "a" / "x.tif"
    file.parent.mkdir()
    picture(1).save(file, save_all=True, append_images=[picture(2)])
    content = file.read_bytes()
    file.write_bytes(content[: -48 * 32 * 3 - 60])  # without the last page and a part of its tags
    (header,) = read_headers(FileBatch(tmp_path, ["a/x.tif"], [0]))
    assert (header.format, header.width_px, header.frames) == ("TIFF", 48, None)
    assert header.note.startswith("frames cannot be counted: ")


def test_headers_of_a_nasty_folder(tmp_path: Path) -> None:
    found = headers_of(nasty_folder(tmp_path / "images"))
    assert len(found) == 16
    assert found["frost/turned.jpg"].orientation == 6
    assert found["frost/animated.jpg"].frames == 2
    assert found["frost/animated.jpg"].format == "GIF"
    assert not found["frost/animated.jpg"].name_fits
    assert not found["frost/no_suffix"].name_fits
    assert found["frost/deep.png"].name_fits
    assert found["frost/deep.png"].mode.startswith("I;16")
    assert found["frost/cmyk.jpg"].mode == "CMYK"
    whole = tmp_path / "images" / "rain" / "original.jpg"
    assert found["rain/original.jpg"].bytes == whole.stat().st_size
    assert (found["rain/original.jpg"].width_px, found["rain/original.jpg"].height_px) == (48, 32)

    counts = HeaderCounts()
    for header in found.values():
        counts.add(header)
    assert (counts.rotated, counts.animated, counts.misnamed) == (1, 1, 3)
    assert sum(counts.formats.values()) == sum(counts.modes.values()) == 16
    assert counts.size_array().shape == (16, 3)


def test_colour_profiles(tmp_path: Path) -> None:
    adobe, damaged = icc.rgb_profile(), b"a profile no more"
    files = [
        ("rain", "RGB", adobe), ("rain", "RGB", adobe), ("snow", "RGB", adobe),
        ("snow", "L", icc.grey_profile(1.8)), ("snow", "L", adobe), ("rain", "RGB", damaged),
        ("rain", "CMYK", icc.ink_profile()), ("rain", "CMYK", None), ("snow", "CMYK", damaged),
        ("snow", "RGB", None),
    ]  # fmt: skip
    for number, (folder, mode, profile) in enumerate(files):
        (tmp_path / folder).mkdir(exist_ok=True)
        picture(number, (20, 20), mode).save(
            tmp_path / folder / f"{number}.jpg", icc_profile=profile
        )
    counts = HeaderCounts()
    for header in headers_of(tmp_path).values():
        counts.add(header)
    name, rain, snow = "of the tests", 0, 1
    assert counts.profiles == {
        (name, "RGB", "converted", rain): 2,
        (name, "RGB", "converted", snow): 1,
        (name, "GRAY", "converted", snow): 1,
        (name, "RGB", "ignored: it is for RGB, the image is GRAY", snow): 1,
        ("", "", "ignored: damaged, or incomplete", rain): 1,
        ("", "", "ignored: damaged, or incomplete", snow): 1,
        (name, "CMYK", "converted", rain): 1,
    }
    assert counts.plain_inks == 2


def test_a_removed_file_is_left_out(tmp_path: Path) -> None:
    root = nasty_folder(tmp_path / "images")
    items = scan(root).items
    parts = list(file_batches(root, [item.path for item in items], [0] * len(items)))
    (root / "rain" / "original.jpg").unlink()
    (root / "rain" / "copy.jpg").write_text("no image any more")
    assert sum(len(read_headers(part)) for part in parts) == len(items) - 2


def test_sizes_of_no_files() -> None:
    assert HeaderCounts().size_array().shape == (0, 3)
