import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.scenes import MOTIFS, paint
from weather_hpc.dataset.synthetic import WEAPD_COUNTS, make_synthetic
from weather_hpc.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.jpg")}


def test_all_eleven_classes_with_sizes_as_in_the_wild(tmp_path: Path) -> None:
    assert make_synthetic(tmp_path / "images", 3) == 33
    found = scan(tmp_path / "images")
    assert found.class_counts() == dict.fromkeys(WEAPD_COUNTS, 3)
    assert not found.quarantine
    assert not found.duplicates
    sides = [side for item in found.items for side in (item.width, item.height)]
    assert min(sides) >= 240
    assert max(sides) <= 1600
    assert len(set(sides)) > 33
    assert {item.width > item.height for item in found.items} == {True, False}


def test_seeded_and_independent_of_the_number(tmp_path: Path) -> None:
    for name, number, seed in (("one", 1, 5), ("two", 2, 5), ("other", 1, 6)):
        make_synthetic(tmp_path / name, number, seed)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one.items() <= two.items()
    assert not set(one.values()) & set(other.values())


def test_made_once_and_finished_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[str] = []

    def paint_until_killed(name: str, rng: np.random.Generator, size: tuple[int, int]) -> object:
        painted.append(name)
        if len(painted) == 6:
            raise KeyboardInterrupt
        return paint(name, rng, size)

    make_synthetic(tmp_path / "whole", 1)
    monkeypatch.setattr("weather_hpc.dataset.scenes.paint", paint_until_killed)
    with pytest.raises(KeyboardInterrupt):
        make_synthetic(tmp_path / "images", 1)
    make_synthetic(tmp_path / "images", 1)
    assert len(painted) == 6 + 6  # five were there, the sixth and five more came after the kill
    make_synthetic(tmp_path / "images", 1)
    assert len(painted) == 6 + 6
    assert contents(tmp_path / "images") == contents(tmp_path / "whole")


def test_class_sizes_in_weapds_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weather_hpc.dataset.scenes.paint", lambda *_: Image.new("RGB", (9, 9)))
    assert make_synthetic(tmp_path / "images", 62, like_weapd=True) == 682
    counts = {f.name: len(list(f.iterdir())) for f in (tmp_path / "images").iterdir() if f.is_dir()}
    assert counts["rime"] == 115  # 1160 of 6862
    assert counts["rainbow"] == 23


def test_other_things_are_left_alone(tmp_path: Path) -> None:
    make_synthetic(tmp_path / "images", 1)
    with pytest.raises(UserError, match="other settings"):
        make_synthetic(tmp_path / "images", 1, seed=1)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="holds other files"):
        make_synthetic(tmp_path / "photos", 1)
    with pytest.raises(UserError, match="0, must be 1 or more"):
        make_synthetic(tmp_path / "new", 0)


def test_classes_are_identified_by_texture_and_not_by_mean_colour() -> None:
    """Nearest class mean, fitted on one half and tried on the other."""
    per_class = 30
    labels = np.repeat(np.arange(len(MOTIFS)), per_class)
    pictures = []
    for label, name in enumerate(MOTIFS):
        for number in range(per_class):
            image = paint(name, np.random.default_rng([label, number]), (200, 200))
            file = io.BytesIO()
            image.save(file, "JPEG", quality=85)
            pictures.append(np.asarray(Image.open(file).resize((64, 64)), dtype=np.float64))
    pixels = np.stack(pictures)

    grey = pixels.mean(-1)
    down, across = np.diff(grey, axis=1), np.diff(grey, axis=2)
    texture = np.stack(
        [
            f(values, axis=(1, 2))
            for values in (np.abs(down), np.abs(across), grey)
            for f in (np.mean, np.std, np.max)
        ]
        + [(pixels.max(-1) - pixels.min(-1)).std(axis=(1, 2))],
        axis=1,
    )
    texture = (texture - texture.mean(0)) / texture.std(0)
    assert accuracy(pixels.mean((1, 2)), labels) < 0.35
    assert accuracy(texture, labels) > 0.5


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    fitted, tried = np.arange(len(labels)) % 2 == 0, np.arange(len(labels)) % 2 == 1
    means = np.stack([features[fitted & (labels == k)].mean(0) for k in range(labels.max() + 1)])
    distance = ((features[tried][:, None] - means) ** 2).sum(-1)
    return float((distance.argmin(1) == labels[tried]).mean())
